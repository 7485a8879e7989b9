"""What handlers of operators share: what a node's successor takes over, fresh names, constants."""

from __future__ import annotations

from typing import Any

import numpy as np


def taken_over(ctx: Any, node: Any) -> tuple[str, str, Any, int]:
    """Output, name, shape and element type of a node that is about to be replaced."""
    output = node.output[0]
    return output, node.name, ctx.get_shape(output), ctx.get_dtype(output)


def is_float(kind: int) -> bool:
    """Whether an ONNX element type is a floating one."""
    from onnx import TensorProto

    return kind in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def constant(ctx: Any, base: str, value: Any, dtype: Any) -> str:
    """The name of a constant's value; its node is named after `base`."""
    from tf2onnx import utils

    return str(ctx.make_const(utils.make_name(base), np.array(value, dtype)).output[0])


def constant_like(ctx: Any, base: str, value: Any, kind: int) -> str:
    """The same, of an ONNX element type."""
    from tf2onnx import utils

    return constant(ctx, base, value, utils.map_onnx_to_numpy_type(kind))
