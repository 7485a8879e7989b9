"""Operators of TensorFlow that tf2onnx 1.17 does not convert, added through its own registry.

Each handler follows the operator's page under https://www.tensorflow.org/api_docs/python/tf/raw_ops. They override
what tf2onnx has for the same operator, as theirs are for a newer opset, and can go where it learns them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from converters.tensorflow.operators import arithmetic, signal, text

HANDLERS: dict[str, Any] = {
    "LookupTableFind": text.LookupTableFind,
    "LookupTableFindV2": text.LookupTableFind,
    "HashTable": text.Table,
    "HashTableV2": text.Table,
    "MutableHashTable": text.Table,
    "MutableHashTableV2": text.Table,
    "StringToHashBucket": text.StringToHashBucket,
    "StringToHashBucketFast": text.StringToHashBucket,
    "StringToHashBucketStrong": text.StringToHashBucket,
    "StringLower": text.StringCase,
    "StringUpper": text.StringCase,
    "Bucketize": arithmetic.Bucketize,
    "FloorMod": arithmetic.FloorMod,
    "FloorDiv": arithmetic.FloorDiv,
    "TruncateMod": arithmetic.TruncateMod,
    "TruncateDiv": arithmetic.TruncateDiv,
    "Log1p": arithmetic.Log1p,
    "Expm1": arithmetic.Expm1,
    "Erfc": arithmetic.Erfc,
    "MulNoNan": arithmetic.MulNoNan,
    "Xlogy": arithmetic.Xlogy,
    "L2Loss": arithmetic.L2Loss,
    "TFL_GELU": arithmetic.Gelu,
    "RFFT": signal.RealFourier,
    "ComplexAbs": signal.ComplexAbs,
    "Real": signal.Real,
    "Imag": signal.Imag,
}
"""Operator -> handler; `TFL_` are TFLite's."""


@cache
def register() -> None:
    """Adds the handlers to tf2onnx's registry, once."""
    from tf2onnx.handler import tf_op

    for name, handler in HANDLERS.items():
        tf_op(name)(handler)
