"""The console: a web page on the management port. Its source is in `source/`, as built in `dist/`; `files.py` answers
with that."""
