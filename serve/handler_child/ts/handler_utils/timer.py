"""Stands for `ts.handler_utils.timer`: `@timed` tells how long a step of a handler took."""

from __future__ import annotations

import functools
import time
from typing import Any


def timed(function: Any) -> Any:
    """A method whose calls are told to `self.context.metrics`, in milliseconds, where the config turns that on."""

    @functools.wraps(function)
    def measured(self: Any, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = function(self, *args, **kwargs)
        context = getattr(self, "context", None)
        if context is not None and context.model_yaml_config.get("handler", {}).get("profile"):
            took_ms = round((time.perf_counter() - started) * 1000, 2)
            context.metrics.add_time("ts_handler_" + function.__name__, took_ms)
        return result

    return measured
