"""The YAML of what was imported, with what has no counterpart as comments where it was."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from serve.config import parse_config
from serve.config_sections.yaml_text import read_scalar
from serve.importing.base import Imported, ImportedModel, Leftover

WIDTH = 116
_PLAIN = re.compile(r"[A-Za-z./_][A-Za-z0-9./_-]*")


def config_text(imported: Imported, folder: Path | None) -> str:
    """The config as YAML. Paths below `folder`, where it will lie, become relative to it; others are absolute.

    Raises `ConfigError` where what was read makes no config.
    """
    lines = list(_lines(imported, folder))
    text = "\n".join(lines) + "\n"
    parse_config(text, "the imported config", folder or Path("/"))
    return text


def document(imported: Imported) -> dict[str, Any]:
    """The config as plain values, with absolute paths."""
    return {
        "gateway": imported.gateway,
        "models": [model.mapping for model in imported.models if model.mapping is not None],
    }


def _lines(imported: Imported, folder: Path | None) -> Iterator[str]:
    yield f"# Written by `onegate import` from {imported.server}."
    yield from _comments("", [_told(leftover) for leftover in imported.leftovers])
    if imported.gateway:
        yield "gateway:"
        yield from _comments("  ", imported.remarks)
        yield from _mapping(_relative(imported.gateway, folder), "  ")
    served = [model for model in imported.models if model.mapping is not None]
    yield "models:" if served else "models: []"
    for model in served:
        yield from _model(model, folder)
    for model in imported.models:
        if model.mapping is None:
            yield from _comments("  ", [f"left out: {model.name}", *map(_place, model.leftovers)])


def _model(model: ImportedModel, folder: Path | None) -> Iterator[str]:
    assert model.mapping is not None
    first, *rest = _mapping(_relative(model.mapping, folder), "    ")
    yield f"  - {first.strip()}"
    yield from _comments("    ", map(_told, model.leftovers))
    yield from rest


def _told(leftover: Leftover) -> str:
    return f"no counterpart: {_place(leftover)}"


def _place(leftover: Leftover) -> str:
    return f"{leftover.file}: {leftover.key}: {leftover.reason}"


def _comments(indent: str, texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        # What a file of others says can't end the comment.
        line = "".join(character if character.isprintable() else "?" for character in text)
        for index, part in enumerate(textwrap.wrap(line, WIDTH - len(indent))):
            yield f"{indent}# {'  ' if index else ''}{part}"


def _mapping(mapping: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from _mapping(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{indent}{key}:"
            for item in value:
                first, *rest = _mapping(item, indent + "    ")
                yield f"{indent}  - {first.strip()}"
                yield from rest
        else:
            yield f"{indent}{key}: {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and read_scalar(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _relative(value: Any, folder: Path | None, key: str = "") -> Any:
    """With paths below `folder` relative to it."""
    if isinstance(value, Mapping):
        return {name: _relative(inner, folder, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_relative(inner, folder) for inner in value]
    if key in ("source", "labels", "model_folder") and folder is not None and Path(value).is_relative_to(folder):
        return os.path.relpath(value, folder)
    return value
