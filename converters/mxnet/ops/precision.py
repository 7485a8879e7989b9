"""Operators for which ONNX Runtime's CPU provider has kernels of single precision alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.mxnet.values import Value


def single(op: str, data: Value, *others: Value | None, **attributes: Any) -> Value:
    """`op` in float32 where `data` is float64, so that the model loads; the result has the dtype of `data`.

    MXNet computes doubles in double precision there: the difference is that of float32, some 1e-7 of the scale.
    float16 needs no help: ONNX Runtime widens it itself.
    """
    if data.dtype != np.float64:
        return data.g.emit(op, data, *others, **attributes)
    inputs = [value.cast(np.float32) if value is not None and value.is_float else value for value in (data, *others)]
    return data.g.emit(op, *inputs, **attributes).cast(np.float64)
