"""Moving in: what other servers were configured with, read and written as a config of onegate."""
