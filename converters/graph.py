"""Reading and finishing an ONNX graph: public names, the signature, the saved file.

Every converter ends here, so that signatures are read in one way from what ONNX Runtime will see.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from converters.base import Arrays, Run
from model_store.errors import ConversionError, first_line
from model_store.manifest import Signature, TensorSpec

MODEL_FILE = "model.onnx"
LARGEST_INLINE_BYTES = 1 << 30
"""Weights beyond this lie in a file beside the graph: protobuf ends at 2 GiB."""

DATATYPES: dict[str, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
}
"""ONNX Runtime's element type -> the protocol's name."""


_SOURCE_PLACE = re.compile(r"/\S*onnxruntime/\S+:\d+ .*?\) ")
"""File, line and function of ONNX Runtime's own code, which its errors tell in front of what is wrong."""


def session_options(*, threads: int = 0) -> onnxruntime.SessionOptions:
    """The options of every session, in the gate and where it is served, so that what is served is what was proven.

    `threads` are intra-op threads, 0 for ONNX Runtime's own choice.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # Weights of four bits are multiplied in float32: by default activations would be cut to int8 on the way.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    # Work in smaller pieces than there are threads: a thread that loses its core for a moment keeps the others waiting
    # for less, and they take over what it has left. 4 to 9% for nets of 0.15 to 150 ms a batch on two cores.
    options.add_session_config_entry("session.dynamic_block_base", "4")
    return options


def open_session(
    model: Path | bytes, *, threads: int = 0, optimise: bool = True, arena: bool = True
) -> onnxruntime.InferenceSession:
    """The model, a file or its bytes, in ONNX Runtime on the CPU, which keeps the memory of its largest call for the
    next with `arena`.

    Raises `ConversionError` when it does not load.
    """
    options = session_options(threads=threads)
    options.enable_cpu_mem_arena = arena
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        source = model if isinstance(model, bytes) else str(model)
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        text = str(error) if isinstance(model, bytes) else str(error).replace(str(model), model.name)
        line = first_line(_SOURCE_PLACE.sub("", text))
        raise ConversionError(f"ONNX Runtime does not load the converted model: {line}") from error


def read_signature(session: onnxruntime.InferenceSession) -> Signature:
    """Inputs and outputs as ONNX Runtime infers them; dimensions it does not know are -1."""
    return Signature(
        inputs=tuple(_spec(arg, "input") for arg in session.get_inputs()),
        outputs=tuple(_spec(arg, "output") for arg in session.get_outputs()),
    )


def _spec(arg: Any, role: str) -> TensorSpec:
    kind = arg.type.removeprefix("tensor(").removesuffix(")")
    if kind not in DATATYPES:
        raise ConversionError(f"{role} {arg.name!r} has type {arg.type}; expected a tensor of a served datatype")
    shape = tuple(dim if isinstance(dim, int) and dim >= 0 else -1 for dim in arg.shape or ())
    return TensorSpec(arg.name, DATATYPES[kind], shape)


def rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Gives values of the main graph their public names, in place. Raises `ConversionError` when a public
    name is already that of another value."""
    taken = _value_names(model.graph) - set(names)
    for old, new in names.items():
        if old != new and new in taken:
            raise ConversionError(f"two values of the graph would be called {new!r}; rename the model's output")
    _rename_graph(model.graph, names)


def _value_names(graph: onnx.GraphProto) -> set[str]:
    produced = {name for node in graph.node for name in (*node.input, *node.output)}
    return produced | {value.name for value in (*graph.input, *graph.output, *graph.initializer)}


def _rename_graph(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _rename_graph(inner, names)


def alias_outputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Gives the graph's outputs, in order, the public `names` through Identity nodes, in place.

    Works where plain renaming does not: an output that is an input, or one value given out twice.
    """
    for value, name in zip(model.graph.output, names, strict=True):
        inner = value.name
        if inner == name:
            continue
        if name in _value_names(model.graph):
            _rename_graph(model.graph, {name: f"{name}__inner"})
            inner = value.name
        model.graph.node.append(onnx.helper.make_node("Identity", [inner], [name], name=f"onegate_{name}"))
        value.name = name


def set_shape(value: onnx.ValueInfoProto, shape: Sequence[int | str]) -> None:
    """Declares a value's shape, in place; text names a dynamic dimension."""
    del value.type.tensor_type.shape.dim[:]
    for size in shape:
        dim = value.type.tensor_type.shape.dim.add()
        if isinstance(size, str):
            dim.dim_param = size
        else:
            dim.dim_value = size


def save_model(model: onnx.ModelProto, folder: Path, name: str = MODEL_FILE) -> Path:
    """Writes the model into `folder`, which is made, with large weights in `<name>.data` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if weight_bytes(model) < LARGEST_INLINE_BYTES:
        onnx.save(model, path)
    else:
        onnx.save(model, path, save_as_external_data=True, location=f"{name}.data")
    return path


def weight_bytes(model: onnx.ModelProto) -> int:
    """Size of the initializers; protobuf itself can't measure a model beyond 2 GiB."""
    return sum(len(tensor.raw_data) or 8 * math.prod(tensor.dims) for tensor in model.graph.initializer)


def opset_of(model: Path) -> int:
    """The version of ONNX's own operators that the file is written in."""
    proto = onnx.load(model, load_external_data=False)
    return max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def runner(session: onnxruntime.InferenceSession) -> Run:
    """ONNX Runtime as a function from named inputs to named outputs."""
    names = [arg.name for arg in session.get_outputs()]

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        feeds = {name: _text(array) for name, array in inputs.items()}
        return dict(zip(names, map(np.asarray, session.run(names, feeds)), strict=True))

    return run


def _text(array: np.ndarray) -> np.ndarray:
    """ONNX Runtime takes strings as `str`."""
    if array.dtype.kind != "O":
        return array
    texts = np.empty(array.shape, dtype=object)
    texts.ravel()[:] = [item.decode() for item in array.ravel()]
    return texts
