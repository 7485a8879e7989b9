"""What differs between two documents of the config, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

import msgspec

UNSET = "unset"


class Difference(msgspec.Struct, frozen=True):
    """A key by its path, as `serve.batching.max_delay_ms` or `versions[1].traffic`, with its value before and after;
    None where it is not set."""

    path: str
    old: Any
    new: Any

    @property
    def text(self) -> str:
        """For people: `serve.cpus: 1 -> 2`."""
        return f"{self.path}: {told(self.old)} -> {told(self.new)}"


def differences(old: Any, new: Any, path: str = "") -> Iterator[Difference]:
    """Every key that differs. Mappings are gone into, and lists of mappings place by place."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {**old, **new}:
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif _are_mappings(old) and _are_mappings(new):
        for index, (before, after) in enumerate(zip_longest(old, new)):
            yield from differences(before, after, f"{path}[{index}]")
    elif old != new:
        yield Difference(path, old, new)


def told(value: Any) -> str:
    """A value for people: lists and mappings without what is not set, or not so, in them."""
    if value is None:
        return UNSET
    if isinstance(value, Mapping):
        return (
            "{"
            + ", ".join(
                f"{key}: {told(inner)}" for key, inner in value.items() if inner is not None and inner is not False
            )
            + "}"
        )
    if isinstance(value, list):
        return f"[{', '.join(map(told, value))}]"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _are_mappings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)
