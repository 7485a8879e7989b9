"""Stands for `ts.handler_utils`."""
