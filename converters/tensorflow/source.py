"""What kind of TensorFlow export a source is, told from its first bytes, and where in it the model lies.

Imports no framework.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from converters.headers import read_head
from model_store.errors import SourceError

Kind = Literal["saved_model", "tflite", "graph"]
PROGRAM = "saved_model.pb"
LOADED_PARTS = ("variables", "assets", "assets.extra")
"""What TensorFlow reads of a SavedModel besides its program."""


def kind_of(source: Path) -> Kind | None:
    """None for what is no TensorFlow export."""
    if source.is_dir():
        return "saved_model" if (source / PROGRAM).is_file() or _versions(source) else None
    head = read_head(source, 256)
    if head[4:8] == b"TFL3":
        return "tflite"
    if _opens_with_a_meta_graph(head):
        return "saved_model"
    return "graph" if _opens_with_a_node(head) else None


def saved_model_folder(source: Path) -> Path:
    """The SavedModel itself, also where it lies in a numbered folder as TensorFlow Serving wants it.

    Raises `SourceError` when there are several numbers, and for the program of a SavedModel without its folder.
    """
    if source.is_file():
        raise SourceError(
            f"source {source.name!r} is the program of a SavedModel, without its variables; give the folder it lies in"
        )
    if (source / PROGRAM).is_file():
        return source
    versions = _versions(source)
    if len(versions) != 1:
        names = ", ".join(path.name for path in versions)
        raise SourceError(f"source {source.name!r} holds the versions {names}; name the folder of one of them")
    return versions[0]


def _versions(source: Path) -> list[Path]:
    numbered = (path for path in source.iterdir() if re.fullmatch(r"\d+", path.name))
    return sorted((path for path in numbered if (path / PROGRAM).is_file()), key=lambda path: int(path.name))


def _opens_with_a_node(head: bytes) -> bool:
    """A `GraphDef` begins with a node (field 1), and that with its name (1) and the name of its operator (2)."""
    try:
        offset = _length(head, 0, 0x0A)[1]
        size, offset = _length(head, offset, 0x0A)
        name = head[offset : offset + size]
        size, offset = _length(head, offset + size, 0x12)
        operator = head[offset : offset + size]
    except (IndexError, ValueError):
        return False
    return (
        re.fullmatch(rb"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*", name) is not None
        and re.fullmatch(rb"[A-Z_][A-Za-z0-9_>]*", operator) is not None
    )


def _opens_with_a_meta_graph(head: bytes) -> bool:
    """A `SavedModel` begins with its version (field 1, which is 1), and a graph (2) that begins with a message (1).
    An ONNX file can begin alike, but has a name in the second place."""
    try:
        return head[:2] == b"\x08\x01" and head[_length(head, 2, 0x12)[1]] == 0x0A
    except (IndexError, ValueError):
        return False


def _length(head: bytes, offset: int, tag: int) -> tuple[int, int]:
    """The length of a protobuf field that must have `tag`, and where its bytes begin."""
    if head[offset] != tag:
        raise ValueError("another field")
    value = shift = 0
    while True:
        offset += 1
        value |= (head[offset] & 0x7F) << shift
        shift += 7
        if head[offset] < 0x80:
            return value, offset + 1
