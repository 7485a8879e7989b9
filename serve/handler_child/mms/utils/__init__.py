"""Stands for `mms.utils`."""
