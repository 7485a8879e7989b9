"""Stands for `mms.metrics.metrics_store`."""

from onegate_handler.metrics import MetricsStore

__all__ = ["MetricsStore"]
