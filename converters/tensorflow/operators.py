"""Operators of TensorFlow that tf2onnx 1.17 does not convert, added through its own registry.

Each handler follows the operator's page under https://www.tensorflow.org/api_docs/python/tf/raw_ops. They override
what tf2onnx has for the same operator, as theirs are for a newer opset, and can go where it learns them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from converters.tensorflow import operators_signal

LABEL_ENCODER = "LabelEncoder"
ML_DOMAIN = "ai.onnx.ml"
ML_OPSET = 4
"""Since this one `LabelEncoder` takes tensors of keys and values."""


@cache
def register() -> None:
    """Adds the handlers to tf2onnx's registry, once."""
    from tf2onnx.handler import tf_op

    tf_op(["LookupTableFind", "LookupTableFindV2"])(LookupTableFind)
    tf_op(["HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2"])(Table)
    tf_op(["StringToHashBucketFast", "StringToHashBucket", "StringToHashBucketStrong"])(StringToHashBucket)
    tf_op(["StringLower", "StringUpper"])(StringCase)
    tf_op("Bucketize")(Bucketize)
    tf_op("FloorMod")(FloorMod)
    tf_op("FloorDiv")(FloorDiv)
    tf_op("Erfc")(Erfc)
    tf_op("RFFT")(operators_signal.RealFourier)
    tf_op("ComplexAbs")(operators_signal.ComplexAbs)
    tf_op("Real")(operators_signal.Real)
    tf_op("Imag")(operators_signal.Imag)
    tf_op("MulNoNan")(MulNoNan)
    tf_op("Xlogy")(Xlogy)
    tf_op("L2Loss")(L2Loss)


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


class Bucketize:
    """int32 number of `boundaries` that the value is not below; that counts all for NaN."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To a comparison with every boundary, added up."""
        from onnx import TensorProto

        boundaries = np.asarray(node.get_attr_value("boundaries"), np.float32)
        value, output, name, shape = node.input[0], node.output[0], node.name, ctx.get_shape(node.output[0])
        kind = ctx.get_dtype(value)
        ctx.remove_node(name)
        if kind != TensorProto.DOUBLE:
            # Boundaries are float32; TensorFlow compares integers with them as C++ does, in float32.
            value = ctx.make_node("Cast", [value], attr={"to": TensorProto.FLOAT}).output[0]
        bounds = boundaries.astype(np.float64) if kind == TensorProto.DOUBLE else boundaries
        axis = ctx.make_const(_name(name), np.array([-1], np.int64)).output[0]
        column = ctx.make_node("Unsqueeze", [value, axis]).output[0]
        below = ctx.make_node("Less", [column, ctx.make_const(_name(name), bounds).output[0]]).output[0]
        reached = ctx.make_node("Not", [below]).output[0]
        numbers = ctx.make_node("Cast", [reached], attr={"to": TensorProto.INT32}).output[0]
        ctx.make_node(
            "ReduceSum", [numbers, axis], attr={"keepdims": 0}, name=name, outputs=[output], shapes=[shape],
            dtypes=[TensorProto.INT32],
        )  # fmt: skip


class FloorMod:
    """`x - floor(x / y) * y`: the rest has the divisor's sign. tf2onnx 1.17 cuts integers towards zero instead."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `Mod` for integers, and for floats to the formula."""
        output, name, shape, kind = _taken(ctx, node)
        (x, y) = node.input
        ctx.remove_node(name)
        if not _is_float(kind):
            ctx.make_node("Mod", [x, y], name=name, outputs=[output], shapes=[shape], dtypes=[kind])
            return
        floor = ctx.make_node("Floor", ctx.make_node("Div", [x, y]).output)
        product = ctx.make_node("Mul", [floor.output[0], y]).output[0]
        ctx.make_node("Sub", [x, product], name=name, outputs=[output], shapes=[shape], dtypes=[kind])


class FloorDiv:
    """`floor(x / y)`. tf2onnx 1.17 cuts integers towards zero instead."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """For integers to `(x - x mod y) / y`, which leaves no rest."""
        output, name, shape, kind = _taken(ctx, node)
        (x, y) = node.input
        ctx.remove_node(name)
        if _is_float(kind):
            quotient = ctx.make_node("Div", [x, y]).output[0]
            ctx.make_node("Floor", [quotient], name=name, outputs=[output], shapes=[shape], dtypes=[kind])
            return
        whole = ctx.make_node("Sub", [x, ctx.make_node("Mod", [x, y]).output[0]]).output[0]
        ctx.make_node("Div", [whole, y], name=name, outputs=[output], shapes=[shape], dtypes=[kind])


class Erfc:
    """`1 - erf(x)`."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To the formula."""
        from tf2onnx import utils

        output, name, shape, kind = _taken(ctx, node)
        value = node.input[0]
        ctx.remove_node(name)
        one = ctx.make_const(_name(name), np.array(1, utils.map_onnx_to_numpy_type(kind))).output[0]
        error = ctx.make_node("Erf", [value]).output[0]
        ctx.make_node("Sub", [one, error], name=name, outputs=[output], shapes=[shape], dtypes=[kind])


class MulNoNan:
    """`x * y`, and 0 where y is 0 even if x is NaN or infinite."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `Where(y == 0, 0, x * y)`."""
        _unless_zero(ctx, node, node.input[1], ctx.make_node("Mul", list(node.input)).output[0])


class Xlogy:
    """`x * log(y)`, and 0 where x is 0."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `Where(x == 0, 0, x * log(y))`."""
        logarithm = ctx.make_node("Log", [node.input[1]]).output[0]
        _unless_zero(ctx, node, node.input[0], ctx.make_node("Mul", [node.input[0], logarithm]).output[0])


class L2Loss:
    """`sum(t ** 2) / 2` over all elements."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `ReduceSumSquare` and a half."""
        from tf2onnx import utils

        output, name, kind = node.output[0], node.name, ctx.get_dtype(node.output[0])
        squares = ctx.make_node("ReduceSumSquare", [node.input[0]], attr={"keepdims": 0}).output[0]
        half = ctx.make_const(_name(name), np.array(0.5, utils.map_onnx_to_numpy_type(kind))).output[0]
        ctx.remove_node(name)
        ctx.make_node("Mul", [squares, half], name=name, outputs=[output], shapes=[[]], dtypes=[kind])


def _unless_zero(ctx: Any, node: Any, decisive: str, value: str) -> None:
    from tf2onnx import utils

    output, name, shape, kind = _taken(ctx, node)
    zero = ctx.make_const(_name(name), np.array(0, utils.map_onnx_to_numpy_type(kind))).output[0]
    is_zero = ctx.make_node("Equal", [decisive, zero]).output[0]
    ctx.remove_node(name)
    ctx.make_node("Where", [is_zero, zero, value], name=name, outputs=[output], shapes=[shape], dtypes=[kind])


def _taken(ctx: Any, node: Any) -> tuple[str, str, Any, int]:
    """What a node's successor takes over: output, name, shape and element type."""
    output = node.output[0]
    return output, node.name, ctx.get_shape(output), ctx.get_dtype(output)


def _is_float(kind: int) -> bool:
    from onnx import TensorProto

    return kind in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def _name(base: str) -> str:
    from tf2onnx import utils

    return str(utils.make_name(base))
