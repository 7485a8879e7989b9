"""Stands for `ts.protocol`."""
