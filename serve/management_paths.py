"""Paths of the management port's own routes, some of which name a model."""

from __future__ import annotations

import re

METRICS_PATH = "/metrics"

_OF_A_MODEL = re.compile(r"/api/models/([^/]+)/([a-z]+)")


def route_of(path: str) -> tuple[str, str]:
    """The route that a path belongs to, as `/api/models/{model}/comparison`, and the model in it; the path itself, and
    none, where it names none."""
    found = _OF_A_MODEL.fullmatch(path)
    return (path, "") if found is None else (f"/api/models/{{model}}/{found[2]}", found[1])
