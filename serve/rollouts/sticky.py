"""Which version a caller gets again and again while several share a model's traffic.

A hash of model, version and the caller's value decides, so that every gateway agrees, now and after a restart, and
nothing has to be remembered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Protocol

import msgspec


class Sticky(msgspec.Struct, frozen=True):
    """By what callers are told apart: a header in lower case, else the request's id."""

    header: str | None = None


class Asker(Protocol):
    """What of a request may decide which version it gets."""

    @property
    def id(self) -> str:
        """The request's id, empty where the client gave none."""

    @property
    def header(self) -> Callable[[str], str | None] | None:
        """Looks a header up by lower-case name; None where there are none."""


def sticky_value(sticky: Sticky, asker: Asker) -> str | None:
    """What tells the caller from others; None or empty where it did not say."""
    if sticky.header is None:
        return asker.id
    return None if asker.header is None else asker.header(sticky.header)


def sticky_version(model: str, value: str, split: Iterable[tuple[int, int]]) -> int:
    """The version of (version, percent) pairs for a caller's value: rendezvous hashing with weights.

    Each version draws a point in (0, 1] for the value, -ln(point) / percent is how far off it is, and the nearest
    answers: each gets its percent of all values, in whatever order the pairs stand. A caller moves only to a version
    whose share has grown in proportion to that of its own.
    """
    return min(split, key=lambda pair: _distance(model, pair, value))[0]


def _distance(model: str, pair: tuple[int, int], value: str) -> float:
    version, percent = pair
    text = f"{model}\0{version}\0{value}".encode(errors="replace")
    point = (int.from_bytes(blake2b(text, digest_size=8).digest()) + 1) / (1 << 64)
    return -math.log(point) / percent if percent else math.inf
