"""Tensors of PyTorch and arrays of numpy, both ways, with the names of their element types."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from model_store.datatypes import DTYPES
from model_store.errors import ConversionError

_BFLOAT16 = DTYPES["BF16"]


@cache
def _datatypes() -> dict[Any, str]:
    import torch

    return {
        torch.bool: "BOOL",
        torch.uint8: "UINT8",
        torch.uint16: "UINT16",
        torch.uint32: "UINT32",
        torch.uint64: "UINT64",
        torch.int8: "INT8",
        torch.int16: "INT16",
        torch.int32: "INT32",
        torch.int64: "INT64",
        torch.float16: "FP16",
        torch.bfloat16: "BF16",
        torch.float32: "FP32",
        torch.float64: "FP64",
    }


def datatype_of(dtype: Any, name: str) -> str:
    """The protocol's name of a `torch.dtype`; raises `ConversionError` for complex and quantised elements."""
    known = _datatypes()
    if dtype not in known:
        raise ConversionError(
            f"tensor {name!r} has elements of type {str(dtype).removeprefix('torch.')}, which no protocol carries; "
            "give out real numbers, as torch.view_as_real or dequantize make them"
        )
    return known[dtype]


def to_tensor(array: np.ndarray) -> Any:
    """A tensor with a copy of the array's values: a model may work in place on what it is given."""
    import torch

    plain = np.array(array, order="C")
    if plain.dtype == _BFLOAT16:
        # PyTorch takes no arrays of ml_dtypes' element types.
        return torch.from_numpy(plain.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(plain)


def to_array(value: Any) -> np.ndarray:
    """A tensor's values, or those of a Python number."""
    import torch

    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    plain = value.detach().cpu().resolve_conj().resolve_neg()
    if plain.dtype == torch.bfloat16:
        return np.asarray(plain.contiguous().view(torch.int16).numpy().view(_BFLOAT16))
    return np.asarray(plain.numpy())
