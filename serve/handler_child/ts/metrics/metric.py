"""Stands for `ts.metrics.metric`."""

from onegate_handler.metrics import Metric

__all__ = ["Metric"]
