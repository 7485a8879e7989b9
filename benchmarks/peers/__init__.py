"""`make bench-peers`: onegate beside the servers that people move from, in one run and with one client."""
