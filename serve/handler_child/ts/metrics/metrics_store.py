"""Stands for `ts.metrics.metrics_store`."""

from onegate_handler.metrics import MetricsCache, MetricsStore

__all__ = ["MetricsCache", "MetricsStore"]
