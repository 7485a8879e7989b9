"""numpy: axes in another order and shape, as `ops/layout.py`, `ops/reshaping.py` and `ops/reversing.py`."""

from __future__ import annotations

import math

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op


@numpy_op("Flatten")
def flatten(node: Context, data: np.ndarray) -> np.ndarray:
    """[n, rest]."""
    return data.reshape(len(data), math.prod(data.shape[1:]))


@numpy_op("transpose", "_np_transpose")
def transpose(node: Context, data: np.ndarray) -> np.ndarray:
    """The axes in the order `axes`, or in reverse."""
    return np.transpose(data, node.attrs.integers("axes", None))


@numpy_op("SwapAxis")
def swap_axis(node: Context, data: np.ndarray) -> np.ndarray:
    """Two axes exchanged."""
    return np.swapaxes(data, node.attrs.integer("dim1", 0), node.attrs.integer("dim2", 0))


@numpy_op("expand_dims")
def expand_dims(node: Context, data: np.ndarray) -> np.ndarray:
    """One more axis of size 1."""
    return np.expand_dims(data, node.attrs.integer("axis"))


@numpy_op("squeeze", "_np_squeeze")
def squeeze(node: Context, data: np.ndarray) -> np.ndarray:
    """Fewer axes of size 1; the older operator leaves one."""
    made = np.squeeze(data, node.attrs.integers("axis", None))
    return made.reshape(1) if made.ndim == 0 and node.node.op == "squeeze" else made


@numpy_op("_np_moveaxis")
def moveaxis(node: Context, a: np.ndarray) -> np.ndarray:
    """Axes at other places."""
    return np.moveaxis(a, node.attrs.integers("source"), node.attrs.integers("destination"))


@numpy_op("Reshape")
def reshape(node: Context, data: np.ndarray) -> np.ndarray:
    """By the codes of `shape`, or the old `target_shape`."""
    codes, backwards = node.attrs.integers("shape", ()), node.attrs.boolean("reverse", False)
    if not codes:
        target = [size or -1 for size in node.attrs.integers("target_shape")]
        return data.reshape([len(data), *target[1:]] if node.attrs.boolean("keep_highest", False) else target)
    names = {0: "copy", -2: "rest", -3: "merge", -4: "split"}
    step = -1 if backwards else 1
    return data.reshape(_read(names, list(codes)[::step], list(data.shape)[::step])[::step])


@numpy_op("_npx_reshape")
def npx_reshape(node: Context, a: np.ndarray) -> np.ndarray:
    """By the codes of `newshape`."""
    names = {-2: "copy", -3: "skip", -4: "rest", -5: "merge", -6: "split"}
    step = -1 if node.attrs.boolean("reverse", False) else 1
    codes = list(node.attrs.integers("newshape"))[::step]
    return a.reshape(_read(names, codes, list(a.shape)[::step])[::step])


def _read(names: dict[int, str], codes: list[int], sizes: list[int]) -> list[int]:
    """The target shape: codes from left to right, each of which uses up some of the sizes."""
    made: list[int] = []
    while codes:
        match names.get(code := codes.pop(0), "number"):
            case "copy":
                made.append(sizes.pop(0))
            case "skip":
                sizes.pop(0)
            case "rest":
                made += sizes
                sizes = []
            case "merge":
                made.append(sizes.pop(0) * sizes.pop(0))
            case "split":
                whole, parts = sizes.pop(0), [codes.pop(0), codes.pop(0)]
                made += [whole // -math.prod(parts) if part == -1 else part for part in parts]
            case _:
                made.append(code)
                sizes = sizes[1:]
    return made


@numpy_op("_np_reshape")
def np_reshape(node: Context, a: np.ndarray) -> np.ndarray:
    """numpy's own."""
    return a.reshape(node.attrs.integers("newshape", ()))


@numpy_op("reshape_like")
def reshape_like(node: Context, lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """Some sizes of `lhs` replaced by some of `rhs`."""
    bounds = {key: node.attrs.integer(key, None) for key in ("lhs_begin", "lhs_end", "rhs_begin", "rhs_end")}
    middle = rhs.shape[slice(bounds["rhs_begin"], bounds["rhs_end"])]
    begin = range(lhs.ndim)[slice(bounds["lhs_begin"], bounds["lhs_end"])]
    before = lhs.shape[: begin.start]
    return lhs.reshape(*before, *middle, *lhs.shape[len(before) + len(begin) :])


@numpy_op("reverse", "_npi_flip")
def reverse(node: Context, data: np.ndarray) -> np.ndarray:
    """Backwards along axes."""
    return np.flip(data, node.attrs.integers("axis", None if node.node.op == "_npi_flip" else ()))


@numpy_op("_np_roll")
def roll(node: Context, data: np.ndarray) -> np.ndarray:
    """Shifted around the end."""
    shift, axis = node.attrs.integers("shift"), node.attrs.integers("axis", None)
    return np.roll(data, shift if axis is not None else sum(shift), axis)


@numpy_op("_npi_rot90")
def rot90(node: Context, data: np.ndarray) -> np.ndarray:
    """Turned in a plane."""
    return np.rot90(data, node.attrs.integer("k", 1), node.attrs.integers("axes", (0, 1)))
