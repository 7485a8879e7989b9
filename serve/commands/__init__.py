"""One file a subcommand of `onegate`; each has a click command named `command`."""
