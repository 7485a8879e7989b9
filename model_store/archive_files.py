"""Files of model archives that say how a model is called: `signature.json`, labels, `model-config.yaml`.

Each is small and bounded; a file of another form is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from model_store.archive_manifest import decode, read_bounded
from model_store.errors import SourceError, first_line
from model_store.manifest import TensorSpec

SIGNATURE_FILE = "signature.json"
SYNSET_FILE = "synset.txt"
INDEX_FILE = "index_to_name.json"

LARGEST_FILE_BYTES = 16 << 20
LARGEST_CONFIG_BYTES = 1 << 20
MOST_LABELS = 1_000_000


class ArchiveSignature(msgspec.Struct, frozen=True, kw_only=True):
    """`signature.json` of MMS. A dimension of 0 means that it is free, and is -1 here; datatypes are FP32."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...] = ()
    input_type: str | None = None
    """`image/jpeg` or `application/json`."""
    output_type: str | None = None


class _Tensor(msgspec.Struct, frozen=True):
    data_name: str
    data_shape: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None

    def spec(self) -> TensorSpec:
        shape = self.data_shape if self.data_shape is not None else self.shape or ()
        return TensorSpec(self.data_name, "FP32", tuple(-1 if size == 0 else size for size in shape))


class _Signature(msgspec.Struct, frozen=True):
    inputs: tuple[_Tensor, ...]
    outputs: tuple[_Tensor, ...] = ()
    input_type: str | None = None
    output_type: str | None = None


def read_signature(path: Path, where: str) -> ArchiveSignature:
    """The signature in `path`; raises `SourceError`, which begins with `where`."""
    found = decode(read_bounded(path, LARGEST_FILE_BYTES, where), _Signature, where)
    for tensor in (*found.inputs, *found.outputs):
        if any(size < -1 for size in tensor.spec().shape):
            raise SourceError(f"{where}: {tensor.data_name!r} has the shape {list(tensor.spec().shape)}")
    return ArchiveSignature(
        inputs=tuple(tensor.spec() for tensor in found.inputs),
        outputs=tuple(tensor.spec() for tensor in found.outputs),
        input_type=found.input_type or None,
        output_type=found.output_type or None,
    )


def read_synset(path: Path, where: str) -> tuple[str, ...]:
    """One label a line, the line's number being the class; empty lines at the end are none."""
    try:
        text = read_bounded(path, LARGEST_FILE_BYTES, where).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{where}: expected text in UTF-8: {error}") from error
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines)


def read_index(path: Path, where: str) -> tuple[str, ...]:
    """Labels of TorchServe: `{"0": "label"}`, `{"0": ["id", "label"]}`, or `{"object_type_names": [..]}`.

    A class without a label is called by its number.
    """
    found = decode(read_bounded(path, LARGEST_FILE_BYTES, where), dict[str, str | list[str]], where)
    names = found.get("object_type_names")
    if isinstance(names, list):
        return tuple(names)
    labels = {_class(key, where): _label(value, where) for key, value in found.items()}
    return tuple(labels.get(index, str(index)) for index in range(max(labels, default=-1) + 1))


def _class(key: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", key) or int(key) >= MOST_LABELS:
        raise SourceError(f"{where}: expected the number of a class below {MOST_LABELS} as key, got {key[:40]!r}")
    return int(key)


def _label(value: str | Sequence[str], where: str) -> str:
    if isinstance(value, str):
        return value
    if not value:
        raise SourceError(f"{where}: expected a label, got an empty list")
    return value[-1]


class _PlainLoader(yaml.SafeLoader):
    """Without aliases, by which a few lines stand for billions of values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds an alias (*name), which is not followed; write the values out")
        return super().compose_node(parent, index)


def read_config(path: Path, where: str) -> dict[str, Any]:
    """`model-config.yaml` of TorchServe: keys of the server, and further ones that belong to the handler."""
    data = read_bounded(path, LARGEST_CONFIG_BYTES, where)
    try:
        found = yaml.load(data, _PlainLoader)  # a subclass of the safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SourceError(f"{where} is no YAML that can be read: {first_line(error)}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SourceError(f"{where}: expected keys and values, got {type(found).__name__}")
    return {str(key): value for key, value in found.items()}
