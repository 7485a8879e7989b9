"""Programs that run inside of the peers: each in its server's own environment, without anything of onegate."""
