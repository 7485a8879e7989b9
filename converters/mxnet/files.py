"""The two files of a model, found from either of them or from their folder. Content decides, names only pair them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from converters.headers import read_head, zip_members
from converters.mxnet.params import looks_like_npz, looks_like_params
from converters.mxnet.symbol import looks_like_symbol
from model_store.companions import companion
from model_store.errors import SourceError

_STRUCTURAL = re.compile(r"(\w+\.)*(\d+|[a-z_]\w*)\.\w+")
"""Names that `save_parameters` gives, as `features.0.weight`: places in the Python object."""


@dataclass(frozen=True)
class ModelFiles:
    """Graph and parameters of one model."""

    symbol: Path
    params: Path


def is_symbol(path: Path) -> bool:
    """Whether a file looks like a symbol.json."""
    return looks_like_symbol(read_head(path))


def is_params(path: Path) -> bool:
    """Whether a file looks like parameters of MXNet."""
    return looks_like_params(read_head(path, 8)) or looks_like_npz(zip_members(path))


def looks_like_model(source: Path) -> bool:
    """Whether `source` is a file of an MXNet model, or a folder with both of one."""
    if source.is_dir():
        symbols, params = _in_folder(source)
        return bool(symbols and params)
    return is_params(source) or is_symbol(source)


def find_model(source: Path) -> ModelFiles:
    """Both files of the model that `source` names; raises `SourceError` where there are not exactly two that match."""
    if source.is_dir():
        return _only_model(source)
    other = companion(source)
    if is_symbol(source):
        if other is None:
            prefix = source.name.removesuffix("-symbol.json")
            raise SourceError(
                f"{source.name!r} has no parameters beside it; expected {prefix}-0000.params, or a folder of both files"
            )
        return ModelFiles(source, other)
    if other is None:
        raise SourceError(
            f"{source.name!r} has no graph beside it; expected PREFIX-symbol.json for PREFIX-NNNN.params, as "
            "`net.export(PREFIX)` and `save_checkpoint` write them, or a folder of both files"
        )
    return ModelFiles(other, source)


def _in_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return [path for path in files if is_symbol(path)], [path for path in files if is_params(path)]


def _only_model(folder: Path) -> ModelFiles:
    symbols, params = _in_folder(folder)
    if len(symbols) != 1:
        raise SourceError(f"folder {folder.name!r} holds {_listed(symbols)}; expected one graph: name the file itself")
    other = companion(symbols[0])
    if other is not None:
        return ModelFiles(symbols[0], other)
    if len(params) != 1:
        raise SourceError(f"folder {folder.name!r} holds {_listed(params)}; expected one file of parameters")
    return ModelFiles(symbols[0], params[0])


def _listed(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths[:5]) or "none"


def explain_unbound(names: Iterable[str], params: str) -> str:
    """What is wrong with a file whose names bind to nothing in the graph."""
    listed = list(names)
    if any(_STRUCTURAL.fullmatch(name) for name in listed):
        return (
            f"{params!r} was written by Gluon's `save_parameters`: its names ({listed[0]}, ..) are places in the "
            "Python object and can't be bound to a graph; write both files with `net.export(PREFIX)`"
        )
    return f"no parameter in {params!r} ({', '.join(listed[:3]) or 'empty'}) is a variable of the graph"
