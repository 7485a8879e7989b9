"""Stands for `mms.metrics.metric`."""

from onegate_handler.metrics import Metric

__all__ = ["Metric"]
