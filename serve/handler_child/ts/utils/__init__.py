"""Stands for `ts.utils`."""
