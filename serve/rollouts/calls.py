"""Calls of the management port on one model, `/api/models/<model>/<call>`: JSON bodies as operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from serve.json_bodies import decoded
from serve.operations import RollBack, SetLabels, SetTraffic

Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]


class _To(msgspec.Struct, forbid_unknown_fields=True):
    to: int | None = None


def _traffic(model: str, body: bytes) -> SetTraffic:
    shares = decoded(body, dict[str, Percent], 'percent by version, as {"2": 90, "3": 10}')
    return SetTraffic(model=model, traffic=shares)


def _labels(model: str, body: bytes) -> SetLabels:
    labels = decoded(
        body, dict[str, int | str | None], 'versions by label, null for one that is to go, as {"stable": 2}'
    )
    return SetLabels(model=model, labels={k: v if v is None else str(v) for k, v in labels.items()})


def _rollback(model: str, body: bytes) -> RollBack:
    return RollBack(model=model, to=decoded(body or b"{}", _To, 'nothing, or the record to go to, as {"to": 3}').to)


MODEL_CALLS: dict[tuple[str, str], Callable[[str, bytes], SetTraffic | SetLabels | RollBack]] = {
    ("PUT", "/api/models/{model}/traffic"): _traffic,
    ("PUT", "/api/models/{model}/labels"): _labels,
    ("POST", "/api/models/{model}/rollback"): _rollback,
}
"""Method and route -> the operation that model and body ask for, or `InvalidInput`."""
