"""Whether a machine, and a config, are ready to serve: one check a function, each finding with what to do about it."""
