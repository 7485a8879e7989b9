"""What runs inside a handler's process. This folder is on its path, so that `mms` and `ts` can be imported there only.

Standard library only, and no syntax newer than Python 3.7: a handler may bring its own Python.
"""
