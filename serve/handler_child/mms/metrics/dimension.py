"""Stands for `mms.metrics.dimension`."""

from onegate_handler.metrics import Dimension

__all__ = ["Dimension"]
