"""How a TensorFlow graph is called: public names, and the graph's own tensors behind them.

Reads protobufs of TensorFlow and runs nothing. What the operators are is `vetting.py`'s concern.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_store.errors import ConversionError
from model_store.manifest import Signature, TensorSpec

DEFAULT_SIGNATURE = "serving_default"
BOOKKEEPING = ("__saved_model_init_op", "__saved_model_train_op")
"""Signatures that TensorFlow's loader keeps for itself."""
DATATYPES = {
    "float32": "FP32",
    "float64": "FP64",
    "float16": "FP16",
    "bfloat16": "BF16",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "bool": "BOOL",
    "string": "BYTES",
}
"""TensorFlow's name of an element type -> the protocol's."""


@dataclass(frozen=True)
class GraphSignature:
    """One way to call a graph."""

    name: str
    inputs: Mapping[str, str]
    """Public name -> tensor of the graph, as `serving_default_x:0`."""
    outputs: Mapping[str, str]
    signature: Signature


def read_signatures(meta_graph: Any, source: str) -> dict[str, GraphSignature]:
    """The signatures of a `MetaGraphDef`, the default first, the others by name.

    Raises `ConversionError` when there is none, and for a sparse, ragged or otherwise composite tensor.
    """
    found = {
        name: _read(name, definition, source)
        for name, definition in sorted(meta_graph.signature_def.items())
        if name not in BOOKKEEPING and definition.outputs
    }
    if not found:
        raise ConversionError(
            f"source {source!r} has no signature to call; save it with "
            "tf.saved_model.save(model, folder, signatures=...), or a Keras model with model.export(folder)"
        )
    _refuse_composites(meta_graph, found, source)
    first = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in found else next(iter(found))
    return {first: found.pop(first), **found}


def _read(name: str, definition: Any, source: str) -> GraphSignature:
    inputs = sorted(definition.inputs.items(), key=lambda item: natural_order(item[0]))
    outputs = sorted(definition.outputs.items(), key=lambda item: natural_order(item[0]))
    return GraphSignature(
        name=name,
        inputs={key: info.name for key, info in inputs},
        outputs={key: info.name for key, info in outputs},
        signature=Signature(
            inputs=tuple(_spec(key, info, f"source {source!r}, signature {name!r}: input") for key, info in inputs),
            outputs=tuple(_spec(key, info, f"source {source!r}, signature {name!r}: output") for key, info in outputs),
        ),
    )


def _refuse_composites(meta_graph: Any, found: Mapping[str, GraphSignature], source: str) -> None:
    """TensorFlow 2 takes a ragged or sparse argument apart into dense inputs `x`, `x_1`, which mean nothing alone."""
    functions = meta_graph.object_graph_def.concrete_functions.values()
    composite = any(_has_composite(function.canonicalized_input_signature) for function in functions)
    for graph in found.values() if composite else ():
        parts = next((name for name in graph.inputs if f"{name}_1" in graph.inputs), None)
        if parts is not None:
            raise ConversionError(
                f"source {source!r}, signature {graph.name!r} takes a ragged or sparse tensor ({parts}, {parts}_1); "
                "export a signature of dense tensors (RaggedTensor.to_tensor, tf.sparse.to_dense)"
            )


def _has_composite(value: Any) -> bool:
    """Whether a `StructuredValue` holds the spec of a tensor that is kept in several."""
    if value.HasField("type_spec_value"):
        return bool(value.type_spec_value.num_flat_components > 1)
    inner = [*value.tuple_value.values, *value.list_value.values, *value.dict_value.fields.values()]
    return any(map(_has_composite, inner))


def natural_order(name: str) -> list[Any]:
    """Sorts `output_2` before `output_10`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _spec(key: str, info: Any, role: str) -> TensorSpec:
    encoding = info.WhichOneof("encoding")
    if encoding != "name":
        kind = "a sparse" if encoding == "coo_sparse" else "a ragged or composite"
        raise ConversionError(
            f"{role} {key!r} is {kind} tensor; export a signature of dense tensors "
            "(tf.sparse.to_dense, RaggedTensor.to_tensor)"
        )
    return tensor_spec(key, info.dtype, info.tensor_shape, f"{role} {key!r}")


def tensor_spec(name: str, dtype: int, shape: Any, role: str) -> TensorSpec:
    """A tensor of a `DataType` and a `TensorShapeProto`. Its shape is None while the rank is unknown, which
    `shapes.py` ends."""
    return TensorSpec(name, datatype_of(dtype, role), dims_of(shape))  # type: ignore[arg-type]


def datatype_of(dtype: int, role: str) -> str:
    """The protocol's name of a TensorFlow `DataType`; raises `ConversionError` for those that are not served."""
    import tensorflow

    name = tensorflow.dtypes.as_dtype(dtype).name
    if name not in DATATYPES:
        raise ConversionError(f"{role} has the element type {name}, which is not served; cast it in the signature")
    return DATATYPES[name]


def dims_of(shape: Any) -> tuple[int, ...] | None:
    """Sizes of a `TensorShapeProto`, -1 where it has none; None for an unknown rank."""
    if shape.unknown_rank:
        return None
    return tuple(int(dim.size) for dim in shape.dim)


def tensor_name(name: str) -> str:
    """The tensor of a frozen graph that a public name stands for: `x` is `x:0`, `split:1` is itself."""
    return name if re.search(r":\d+$", name) else f"{name}:0"


def node_name(tensor: str) -> str:
    """The operator that makes a tensor; control inputs and the short form of output 0 included."""
    return re.sub(r":\d+$", "", tensor.lstrip("^"))


def public_name(tensor: str) -> str:
    """The inverse of `tensor_name`."""
    return tensor.removesuffix(":0")
