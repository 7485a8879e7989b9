"""Stands for `ts.metrics.metric_type_enum`."""

import enum


class MetricTypes(enum.Enum):
    """How a metric's values add up."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
