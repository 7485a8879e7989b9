"""Tables and text for tf2onnx 1.17: look-ups by `LabelEncoder`, and what of text is provably the same."""

from __future__ import annotations

from typing import Any

import numpy as np

LABEL_ENCODER = "LabelEncoder"
ML_DOMAIN = "ai.onnx.ml"
ML_OPSET = 4
"""Since this one `LabelEncoder` takes tensors of keys and values."""


class Table:
    """A table has no counterpart: who looks up in it takes its contents along."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Left in place; it goes when nothing uses it."""


class LookupTableFind:
    """`values[keys == key]`, or `default_value` (a constant) for a key that the table does not hold.

    Keys and values: any two of string, int64, int32, float32, float64. int32 takes the way of int64.
    """

    @classmethod
    def version_18(cls, ctx: Any, node: Any, initialized_tables: Any, **_: Any) -> None:
        """To `LabelEncoder` of ai.onnx.ml, opset 4."""
        from onnx import TensorProto
        from tf2onnx import utils

        keys, values = _table_of(node, initialized_tables)
        default = node.inputs[2]
        utils.make_sure(default.is_const(), "a lookup's default value must be a constant")
        shape, in_type, out_type = (
            ctx.get_shape(node.input[1]),
            ctx.get_dtype(node.input[1]),
            ctx.get_dtype(node.output[0]),
        )
        (query, output), name = (node.input[1], node.output[0]), node.name
        default_value = _wide(np.asarray(default.get_tensor_value(as_list=False)).reshape(1))
        ctx.remove_node(name)
        if in_type == TensorProto.INT32:
            query = ctx.make_node("Cast", [query], attr={"to": TensorProto.INT64}).output[0]
        narrow = out_type == TensorProto.INT32
        found = ctx.make_node(
            LABEL_ENCODER,
            [query],
            domain=ML_DOMAIN,
            name=utils.make_name(name) if narrow else name,
            outputs=None if narrow else [output],
            attr={
                "keys_tensor": _tensor(_wide(keys)),
                "values_tensor": _tensor(_wide(values)),
                "default_tensor": _tensor(default_value),
            },
            shapes=[shape],
            dtypes=[TensorProto.INT64 if narrow else out_type],
        )
        if narrow:
            ctx.make_node(
                "Cast",
                found.output,
                name=name,
                outputs=[output],
                attr={"to": out_type},
                shapes=[shape],
                dtypes=[out_type],
            )


def _table_of(node: Any, tables: Any) -> tuple[np.ndarray, np.ndarray]:
    from tf2onnx import utils

    table = node.inputs[0]
    while table.type == "Identity":
        table = table.inputs[0]
    name = table.get_attr_value("shared_name")
    utils.make_sure(name in tables, "the contents of the table of %s are not known", node.name)
    keys, values = tables[name]
    utils.make_sure(values.ndim == 1 and len(keys), "the table of %s is empty, or its values are no scalars", node.name)
    return keys, values


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def _tensor(array: np.ndarray) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    if array.dtype.kind in "OSU":
        texts = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel()]
        return helper.make_tensor("texts", TensorProto.STRING, array.shape, texts)
    return numpy_helper.from_array(np.ascontiguousarray(array))


class StringToHashBucket:
    """`hash(text) % num_buckets`: only where that is always 0, as with one bucket of unknown words."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To zeros of the input's shape; ONNX has no such hash."""
        from onnx import TensorProto, helper
        from tf2onnx import utils

        utils.make_sure(node.get_attr_int("num_buckets") == 1, "ONNX has no %s with several buckets", node.type)
        shape, text, output, name = ctx.get_shape(node.output[0]), node.input[0], node.output[0], node.name
        ctx.remove_node(name)
        size = ctx.make_node("Shape", [text]).output[0]
        zero = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
        ctx.make_node(
            "ConstantOfShape", [size], attr={"value": zero}, name=name, outputs=[output], shapes=[shape],
            dtypes=[TensorProto.INT64],
        )  # fmt: skip


class StringCase:
    """`StringLower` and `StringUpper` change ASCII letters alone, or follow Unicode's full rules."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Refused: ONNX's `StringNormalizer` goes by the machine's locale, and differs beyond ASCII either way."""
        raise ValueError(f"ONNX has no {node.type} that is equal beyond ASCII")
