"""Writes a model whose weights are never all in memory: each is read, written, and let go.

An ONNX file is one protobuf message, and fields of a message may come in any order; so the graph is written without its
weights first, and these are appended to it one by one (https://protobuf.dev/programming-guides/encoding/). Beyond what
protobuf can hold they lie in a file beside the graph, as ONNX's external data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from onnx import helper

from converters.graph import LARGEST_INLINE_BYTES, MODEL_FILE

_GRAPH_OF_MODEL, _INITIALIZER_OF_GRAPH, _RAW_DATA_OF_TENSOR = 7, 5, 9
"""Field numbers in onnx.proto."""
ALIGNMENT = 4096
"""Of external data, so that a runtime can map it."""


@dataclass(frozen=True)
class Weight:
    """A constant of the graph, not read yet."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]

    @property
    def size_bytes(self) -> int:
        """Of the numbers."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def header(self) -> onnx.TensorProto:
        """All but the numbers."""
        return onnx.TensorProto(name=self.name, dims=self.shape, data_type=helper.np_dtype_to_tensor_dtype(self.dtype))

    def numbers(self) -> np.ndarray:
        """The numbers as ONNX stores them: uint8[size_bytes]."""
        return np.ascontiguousarray(self.read()).reshape(-1).view(np.uint8)


def write_model_file(model: onnx.ModelProto, weights: Sequence[Weight], folder: Path) -> Path:
    """Writes `model`, whose graph has no initializers yet, with `weights`, as `model.onnx` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MODEL_FILE
    inline = sum(weight.size_bytes for weight in weights) < LARGEST_INLINE_BYTES
    if not inline:
        _write_beside(weights, folder / f"{MODEL_FILE}.data", model.graph)
    graph, rest = model.graph.SerializeToString(), onnx.ModelProto()
    rest.CopyFrom(model)
    rest.ClearField("graph")
    entries = [(weight, _entry(weight)) for weight in weights] if inline else []
    size = len(graph) + sum(len(head) + weight.size_bytes for weight, head in entries)
    with path.open("wb") as file:
        file.write(rest.SerializeToString() + _tag(_GRAPH_OF_MODEL) + _varint(size) + graph)
        for weight, head in entries:
            file.write(head)
            file.write(weight.numbers().data)
    return path


def _entry(weight: Weight) -> bytes:
    """What stands in front of a weight's numbers: its place in the graph, and its own header."""
    size = weight.size_bytes
    inner = weight.header().SerializeToString() + _tag(_RAW_DATA_OF_TENSOR) + _varint(size)
    return bytes(_tag(_INITIALIZER_OF_GRAPH) + _varint(len(inner) + size) + inner)


def _write_beside(weights: Sequence[Weight], path: Path, graph: onnx.GraphProto) -> None:
    with path.open("wb") as file:
        for weight in weights:
            tensor = graph.initializer.add()
            tensor.CopyFrom(weight.header())
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in _place(file, weight, path.name):
                tensor.external_data.add(key=key, value=value)


def _place(file: BinaryIO, weight: Weight, location: str) -> Iterator[tuple[str, str]]:
    file.seek(-(-file.tell() // ALIGNMENT) * ALIGNMENT)
    yield "location", location
    yield "offset", str(file.tell())
    yield "length", str(weight.size_bytes)
    file.write(weight.numbers().data)


def _tag(field: int) -> bytes:
    """Of a field whose content has a length in front."""
    return bytes([field << 3 | 2])


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
