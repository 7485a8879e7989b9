"""Listening sockets, and nothing of any protocol."""
