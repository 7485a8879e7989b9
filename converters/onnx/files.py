"""Finding and reading an ONNX file: the one model of a folder, and external data that stays inside of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx
from onnx.external_data_helper import ExternalDataInfo

from converters.headers import read_head
from model_store.errors import SourceError, first_line

_SECOND_FIELDS = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
"""Keys of the model's fields 2 to 8: producer, domain, version, doc string, graph, opset."""
RUNTIME_FORMAT = b"ORTM"
"""At byte 4 of ONNX Runtime's own format, a flatbuffer."""


def looks_like_onnx(source: Path) -> bool:
    """Whether the source is an ONNX file (or one in ONNX Runtime's own format), or a folder with at least one.

    An ONNX file opens with its IR version (field 1, a small varint) and a further field of the model.
    """
    if source.is_dir():
        return bool(_models(source))
    head = read_head(source, 16)
    return head[4:8] == RUNTIME_FORMAT or (
        len(head) > 2 and head[0] == 0x08 and 1 <= head[1] <= 20 and head[2] in _SECOND_FIELDS
    )


def _models(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.onnx")) if path.is_file() and looks_like_onnx(path)]


def read_model(source: Path) -> onnx.ModelProto:
    """The model with its external data loaded.

    Raises `SourceError` when a folder holds several models, the file is cut off, or external data is missing, cut off,
    or lies outside of the model's folder.
    """
    path = _model_path(source)
    if read_head(path, 16)[4:8] == RUNTIME_FORMAT:
        raise SourceError(
            f"source {source.name!r} is in ONNX Runtime's own format (.ort), which is made for one processor; "
            "give the .onnx file that it was made from"
        )
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError moves between its implementations
        raise SourceError(f"source {path.name!r} is cut off or damaged: {error}") from error
    if not model.graph.node and not model.graph.output:
        raise SourceError(f"source {path.name!r} holds no graph: expected an ONNX model")
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _vet_external(path, ExternalDataInfo(tensor))
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (onnx.checker.ValidationError, ValueError, OSError) as error:
        line = first_line(error)
        raise SourceError(f"source {path.name!r}: its external data can't be read: {line}") from error
    return model


def _model_path(source: Path) -> Path:
    if not source.is_dir():
        return source
    found = _models(source)
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:5])
        raise SourceError(
            f"source {source.name!r} holds {len(found)} ONNX models ({names}): give one file, "
            "or a folder that holds one model with its external data"
        )
    return found[0]


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
            continue
        for attribute in nodes.pop().attribute:
            yield from (*attribute.tensors, *([attribute.t] if attribute.HasField("t") else []))
            graphs.extend((*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])))


def _vet_external(path: Path, info: ExternalDataInfo) -> None:
    """`path.parent` is the only folder that a location may lie in, links followed."""
    location = info.location
    pure = PurePosixPath(location.replace("\\", "/"))
    folder = path.parent.resolve()
    target = (folder / pure).resolve()
    if pure.is_absolute() or ".." in pure.parts or not target.is_relative_to(folder):
        raise SourceError(f"source {path.name!r}: external data {location!r} lies outside of the model's folder")
    if not target.is_file():
        raise SourceError(
            f"source {path.name!r}: external data {location!r} is missing; "
            "give the folder that holds the model and its data as the source"
        )
    wanted, there = (info.offset or 0) + (info.length or 0), target.stat().st_size
    if there < wanted:
        raise SourceError(
            f"source {path.name!r}: external data {location!r} is cut off: "
            f"expected at least {wanted} bytes, got {there}"
        )
