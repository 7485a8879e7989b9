"""`context.metrics`: what a handler measures is taken in and told to the handler's own log at debug level."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger("onegate_handler.metrics")


class Dimension:
    """A name and a value that tell apart measurements of one name."""

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value

    def __str__(self) -> str:
        return f"{self.name}:{self.value}"


class Metric:
    """One measurement; `update` replaces its value, for counters it adds."""

    def __init__(
        self,
        name: str,
        value: Any,
        unit: str | None = None,
        dimensions: Any = None,
        request_id: str | None = None,
        metric_method: str | None = None,
    ) -> None:
        self.name = name
        self.value = value
        self.unit = unit
        self.dimensions = dimensions or []
        self.request_id = request_id
        self.metric_method = metric_method

    def update(self, value: Any) -> None:
        """A further measurement."""
        self.value = self.value + value if self.metric_method == "counter" else value

    def add_or_update(self, value: Any, dimension_values: Any = None, request_id: str = "") -> None:
        """A further measurement, by TorchServe's name."""
        self.update(value)
        log.debug("%s %s", self, dimension_values or "")

    def __str__(self) -> str:
        dimensions = ",".join(str(dimension) for dimension in self.dimensions)
        return f"{self.name}.{self.unit}:{self.value}|#{dimensions}"


class MetricsStore:
    """The calls of MMS's `MetricsStore`; TorchServe's are the same but for `add_metric`."""

    def __init__(self, request_ids: Any = None, model_name: str = "") -> None:
        self.request_ids = request_ids
        self.model_name = model_name
        self.cache: dict[str, Metric] = {}

    def _add(self, name: str, value: Any, unit: str | None, dimensions: Any = None, method: str | None = None) -> None:
        log.debug("%s", Metric(name, value, unit, dimensions, metric_method=method))

    def add_counter(self, name: str, value: Any, idx: int | None = None, dimensions: Any = None) -> None:
        """Counts by `value`."""
        self._add(name, value, "count", dimensions, "counter")

    def add_time(self, name: str, value: Any, idx: int | None = None, unit: str = "ms", dimensions: Any = None) -> None:
        """A duration in `unit`, `ms` or `s`."""
        self._add(name, value, unit, dimensions)

    def add_size(self, name: str, value: Any, idx: int | None = None, unit: str = "MB", dimensions: Any = None) -> None:
        """A size in `unit`, `kB`, `MB` or `GB`."""
        self._add(name, value, unit, dimensions)

    def add_percent(self, name: str, value: Any, idx: int | None = None, dimensions: Any = None) -> None:
        """A share of 100."""
        self._add(name, value, "percent", dimensions)

    def add_error(self, name: str, value: Any, dimensions: Any = None) -> None:
        """An error, in words."""
        self._add(name, value, "", dimensions)

    def add_metric(
        self, name: str, value: Any, idx: int | None = None, unit: str | None = None, dimensions: Any = None
    ) -> None:
        """Anything else."""
        self._add(name, value, unit, dimensions)


class MetricsCache(MetricsStore):
    """TorchServe's metrics: beside the store's calls, metrics that a handler keeps and updates."""

    def add_metric(  # type: ignore[override]  # TorchServe changed the order
        self,
        name: str,
        value: Any,
        unit: str | None = None,
        idx: int | None = None,
        dimensions: Any = None,
        metric_type: Any = None,
    ) -> None:
        """Anything else."""
        self._add(name, value, unit, dimensions)

    def add_metric_to_cache(
        self, metric_name: str, unit: str = "", dimension_names: Any = None, metric_type: Any = "counter"
    ) -> Metric:
        """A metric to be updated later; the one of that name where there is one."""
        method = str(getattr(metric_type, "value", metric_type)).lower()
        return self.cache.setdefault(metric_name, Metric(metric_name, 0, unit, metric_method=method))

    def get_metric(self, metric_name: str, metric_type: Any = None) -> Metric:
        """The metric of that name, made where there is none."""
        return self.add_metric_to_cache(metric_name, metric_type=metric_type or "counter")
