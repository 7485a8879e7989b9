"""Stands for `ts.metrics`."""
