"""What a running gateway does at the moment, for people who watch it."""
