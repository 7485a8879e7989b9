"""What handlers of archives need before they can run: their environments."""
