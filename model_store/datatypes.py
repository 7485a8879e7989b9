"""Element types: the Open Inference Protocol's names and numpy's dtypes, in one table.

BYTES tensors are object arrays of `bytes`. BF16 has no numpy dtype of its own; `ml_dtypes`, which onnx brings,
supplies it.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

DTYPES: dict[str, np.dtype] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}

DATATYPES: dict[np.dtype, str] = {dtype: name for name, dtype in DTYPES.items()}


def is_floating(dtype: np.dtype) -> bool:
    """Whether elements are floating-point numbers; numpy itself does not count BF16 among them."""
    return dtype.kind == "f" or dtype == DTYPES["BF16"]
