"""Stands for `mms.metrics`."""
