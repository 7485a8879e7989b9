"""Arrays of any element type as tensors of the datatype that a model takes, where no value changes its kind."""

from __future__ import annotations

import sys

import numpy as np

from model_store.datatypes import DTYPES
from model_store.errors import InvalidInput


def cast(name: str, array: np.ndarray, datatype: str) -> np.ndarray:
    """The array in `datatype`, C-contiguous and in this machine's byte order; the array itself where it is so already.

    Numbers with a fraction may be rounded to a narrower format; whole ones, and what is finite, stay so. Text becomes
    UTF-8. Raises `InvalidInput` for another kind of value and for one that does not fit.
    """
    dtype = DTYPES[datatype]
    if array.dtype == dtype and dtype.kind != "O":
        return np.ascontiguousarray(array).reshape(array.shape)
    if datatype == "BF16" and array.dtype.kind == "V":  # how numpy writes ml_dtypes' bfloat16
        return np.ascontiguousarray(array).view(dtype).reshape(array.shape)
    if array.dtype.kind not in ("USO" if datatype == "BYTES" else "biuf"):
        raise InvalidInput(f"input {name!r}: expected {datatype}, got {array.dtype}", input=name)
    return _as_bytes(name, array) if datatype == "BYTES" else _as_numbers(name, array, datatype)


def _as_numbers(name: str, array: np.ndarray, datatype: str) -> np.ndarray:
    dtype = DTYPES[datatype]
    with np.errstate(all="ignore"):
        numbers = array.astype(dtype, order="C")
        kept = numbers == array if dtype.kind in "biu" else np.isfinite(numbers) == np.isfinite(array)
    if not kept.all():
        raise InvalidInput(f"input {name!r}: expected {datatype}, got {array.dtype} values that do not fit", input=name)
    return numbers


def _as_bytes(name: str, array: np.ndarray) -> np.ndarray:
    encoded = np.empty(array.size, dtype=object)
    try:
        if array.dtype.kind == "U":
            _check_code_points(array)
        for index, element in enumerate(array.ravel().tolist()):
            if not isinstance(element, str | bytes):
                raise InvalidInput(f"input {name!r}: expected BYTES, got {type(element).__name__} values", input=name)
            encoded[index] = element.encode() if isinstance(element, str) else element
    except ValueError as error:  # code points that no text has
        raise InvalidInput(f"input {name!r}: expected BYTES, got text that is not Unicode", input=name) from error
    return encoded.reshape(array.shape)


def _check_code_points(text: np.ndarray) -> None:
    """numpy makes strings of any numbers, and Python writes them out as bytes that are no UTF-8."""
    codes = np.ascontiguousarray(text, text.dtype.newbyteorder("=")).view(np.uint32)
    if (codes > sys.maxunicode).any():
        raise ValueError(f"a code point above {sys.maxunicode:#x}")
