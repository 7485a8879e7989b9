"""Stands for `mms.utils.mxnet`: pictures and scores as MXNet's arrays."""
