"""Files that are one source though they have two names: MXNet's graph and its parameters.

`PREFIX-symbol.json` belongs to `PREFIX-NNNN.params`, where NNNN is the epoch (`HybridBlock.export`, `save_checkpoint`).
Naming either, or the bare prefix, names both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_PARAMS = re.compile(r"(?P<prefix>.+)-(?P<epoch>\d{4,})\.params")
_SYMBOL_END = "-symbol.json"


def companion_name(name: str, beside: Iterable[str]) -> str | None:
    """Which of the names `beside` belongs to the file `name`: its graph, or its parameters of the highest epoch."""
    names = set(beside)
    if match := _PARAMS.fullmatch(name):
        symbol = match["prefix"] + _SYMBOL_END
        return symbol if symbol in names else None
    if not name.endswith(_SYMBOL_END):
        return None
    prefix = name.removesuffix(_SYMBOL_END)
    epochs = {int(m["epoch"]): m.string for each in names if (m := _PARAMS.fullmatch(each)) and m["prefix"] == prefix}
    return epochs[max(epochs)] if epochs else None


def may_have_companion(name: str) -> bool:
    """Whether a file of this name is one of two."""
    return _PARAMS.fullmatch(name) is not None or name.endswith(_SYMBOL_END)


def companion(path: Path) -> Path | None:
    """The file that belongs to the file `path`; None where none does. Raises `OSError` where the folder can't be
    listed."""
    if not may_have_companion(path.name) or not path.is_file():
        return None
    found = companion_name(path.name, (each.name for each in path.parent.iterdir() if each.is_file()))
    return path.with_name(found) if found else None


def meant_by_prefix(name: str, beside: Iterable[str]) -> str | None:
    """The graph among the names `beside` that `name`, which is itself none of them, is the prefix of."""
    symbol = name + _SYMBOL_END
    return symbol if symbol in set(beside) else None
