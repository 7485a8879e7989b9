"""Calls of the management port on one model, `/api/models/<model>/<call>`: JSON bodies as operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from model_store.errors import InvalidInput
from serve.operations import RollBack, SetLabels, SetTraffic

Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]


class _To(msgspec.Struct, forbid_unknown_fields=True):
    to: int | None = None


def _traffic(model: str, body: bytes) -> SetTraffic:
    shares = _decoded(body, dict[str, Percent], 'percent by version, as {"2": 90, "3": 10}')
    return SetTraffic(model=model, traffic=shares)


def _labels(model: str, body: bytes) -> SetLabels:
    labels = _decoded(
        body, dict[str, int | str | None], 'versions by label, null for one that is to go, as {"stable": 2}'
    )
    return SetLabels(model=model, labels={k: v if v is None else str(v) for k, v in labels.items()})


def _rollback(model: str, body: bytes) -> RollBack:
    return RollBack(model=model, to=_decoded(body or b"{}", _To, 'nothing, or the record to go to, as {"to": 3}').to)


MODEL_CALLS: dict[tuple[str, str], Callable[[str, bytes], SetTraffic | SetLabels | RollBack]] = {
    ("PUT", "/api/models/{model}/traffic"): _traffic,
    ("PUT", "/api/models/{model}/labels"): _labels,
    ("POST", "/api/models/{model}/rollback"): _rollback,
}
"""Method and route -> the operation that model and body ask for, or `InvalidInput`."""


def _decoded(body: bytes, kind: Any, expected: str) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"expected a JSON object with {expected}; got: {error}") from error
