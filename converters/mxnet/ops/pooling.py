"""Pooling with MXNet's two conventions of how many windows there are (src/operator/nn/pooling.cc, pool.h).

`valid` gives floor((in + 2 pad - kernel) / stride) + 1 windows, `full` the ceiling. `full` is `valid` on data with
stride - 1 more elements at the end, so no translation needs the size of the data. ONNX's `ceil_mode` is something
else: it drops windows that lie wholly in the padding, which MXNet keeps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from converters.mxnet.ops.axes import bounded
from converters.mxnet.ops.kernels import single
from converters.mxnet.ops.windows import (
    Window,
    channels_last,
    padded_shape,
    to_channels_first,
    to_channels_last,
    window_of,
)
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value


@dataclass(frozen=True)
class Windows(Window):
    """Windows whose padding differs between the ends: `pad` before, `after` behind."""

    after: tuple[int, ...] = ()
    include_pad: bool = True
    """Whether an average counts the padding (but not what `full` adds behind it)."""

    @property
    def overlap(self) -> bool:
        """Whether every window holds an element of the data. ONNX Runtime wants that of its own padding."""
        return all(max(ends) < kernel for *ends, kernel in zip(self.pad, self.after, self.kernel, strict=True))


Pool = Callable[[Value, Windows], Value]


def _root_of_cubes(total: Value) -> Value:
    g = total.g
    return g.emit("Sign", total) * g.emit("Pow", g.emit("Abs", total), g.scalar(1 / 3, total))


POWERS: Final[dict[int, tuple[Callable[[Value], Value], Callable[[Value], Value]]]] = {
    1: (lambda x: x, lambda total: total),
    2: (lambda x: x * x, lambda total: total.g.emit("Sqrt", total)),
    3: (lambda x: x * x * x, _root_of_cubes),
}
"""`p_value` -> what is summed, and what becomes of the sum. Signs count: ONNX's LpPool takes absolute values."""
GLOBAL: Final = {"max": "ReduceMax", "avg": "ReduceMean", "sum": "ReduceSum", "lp": "ReduceSum"}


@mxnet_op("Pooling")
def pooling(node: OpNode, data: Value) -> Value:
    """data (N, C, spatial..), or channels last with `layout`: max, avg, sum or lp of each window; 1 to 3 spatial axes.

    stride is 1 by default, not the kernel. An average divides by the part of the window within data and padding, or
    within the data alone if `count_include_pad` is False (absent means True). A window wholly in the padding gives the
    lowest number for max, else 0 (MXNet divides 0 by 0 in some such windows of 3-D averages). `global_pool` ignores
    kernel, stride and pad.
    """
    last = channels_last(node, data.rank)
    pooled = _pooled(node, to_channels_first(data) if last else data, POOLS)
    return to_channels_last(pooled) if last else pooled


@mxnet_op("Pooling_v1")
def pooling_v1(node: OpNode, data: Value) -> Value:
    """Pooling before release 0.9.3, kept for its files: an average divides by the whole kernel, wherever it lies."""
    return _pooled(node, data, POOLS | {"avg": lambda data, windows: _sum(data, windows) / _area(windows)})


def _pooled(node: OpNode, data: Value, pools: dict[str, Pool]) -> Value:
    kind = node.attrs.text("pool_type", "max")
    if kind not in pools:
        raise node.refuse(f"attribute 'pool_type': expected one of {', '.join(sorted(pools))}, got {kind!r}")
    power, root = POWERS[1] if kind != "lp" else _power(node)
    if node.attrs.boolean("global_pool", False):
        total = power(data).reduce(GLOBAL[kind], *range(2, data.rank), keepdims=True)
    else:
        total = pools[kind](power(data), _windows(node, data))
    return root(total)


def _power(node: OpNode) -> tuple[Callable[[Value], Value], Callable[[Value], Value]]:
    p = node.attrs.integer("p_value")
    if p not in POWERS:
        raise node.refuse(f"attribute 'p_value': expected 1, 2 or 3, got {p}")
    return POWERS[p]


def _windows(node: OpNode, data: Value) -> Windows:
    window = window_of(node, data.rank)
    bounded(node, padded_shape(data, window))
    convention = node.attrs.text("pooling_convention", "valid")
    if convention not in ("valid", "full"):
        raise node.refuse(f"attribute 'pooling_convention': expected valid or full, got {convention!r}")
    sizes = list(zip(data.shape[2:], window.kernel, window.stride, window.pad, strict=True))
    if any(isinstance(size, int) and kernel > size + 2 * pad for size, kernel, _, pad in sizes):
        raise node.refuse(f"attribute 'kernel': {window.kernel} exceeds the padded data {data}")
    after = window.pad
    if convention == "full":
        after = tuple(pad + _surplus(size, kernel, stride, pad) for size, kernel, stride, pad in sizes)
    include = node.attrs.boolean("count_include_pad", True)
    return Windows(window.kernel, window.stride, (1,) * window.rank, window.pad, after, include)


def _surplus(size: Size, kernel: int, stride: int, pad: int) -> int:
    """How many elements behind the padding make the floor of `valid` the ceiling of `full`."""
    return stride - 1 if isinstance(size, str) else (kernel - size - 2 * pad) % stride


def _maximum(data: Value, windows: Windows) -> Value:
    if windows.overlap:
        return _slide("MaxPool", data, windows)
    return _slide("MaxPool", _padded(data, windows, float(np.finfo(data.dtype).min)), _unpadded(windows))


def _average(data: Value, windows: Windows) -> Value:
    counted_evenly = windows.include_pad and windows.after == windows.pad
    data_alone = not (windows.include_pad and any(windows.pad))
    if windows.overlap and (counted_evenly or data_alone):
        return _slide("AveragePool", data, windows, count_include_pad=int(counted_evenly))
    return _sum(data, windows) / _counts(data, windows)


def _sum(data: Value, windows: Windows) -> Value:
    padded = _padded(data, windows, 0.0)
    if _area(windows) == 1:
        return _every(padded, windows.stride)
    # The product stands between the two nodes: ONNX Runtime fuses Pad into AveragePool even where it then refuses to
    # load the model, because padding reaches the size of the kernel.
    return _slide("AveragePool", padded * _area(windows), _unpadded(windows))


def _every(data: Value, stride: tuple[int, ...]) -> Value:
    """Every stride-th element: the windows of a kernel of 1."""
    g, axes = data.g, range(2, data.rank)
    return g.emit(
        "Slice", data, g.ints(*[0] * len(axes)), g.ints(*[sys.maxsize] * len(axes)), g.ints(*axes), g.ints(*stride)
    )


POOLS: Final[dict[str, Pool]] = {"max": _maximum, "avg": _average, "sum": _sum, "lp": _sum}


def _counts(data: Value, windows: Windows) -> Value:
    """How many elements each window's average divides by, (1, 1, spatial..): at least 1."""
    g = data.g
    ones = g.emit("Expand", g.scalar(1, data), g.sizes((1, 1, *data.shape[2:])), shape=(1, 1, *data.shape[2:]))
    pad = windows.pad
    if windows.include_pad:
        ones = g.emit("Pad", ones, g.ints(0, 0, *pad, 0, 0, *pad), g.scalar(1, ones))
        beyond = tuple(after - before for after, before in zip(windows.after, pad, strict=True))
        windows = replace(windows, pad=(0,) * windows.rank, after=beyond)
    # Sums of ones by way of averages are off by rounding errors.
    return g.emit("Max", g.emit("Round", _sum(ones, windows)), g.scalar(1, data))


def _area(windows: Windows) -> float:
    return float(np.prod(windows.kernel, dtype=np.float64))


def _padded(data: Value, windows: Windows, filler: float) -> Value:
    if not any(windows.pad + windows.after):
        return data
    g = data.g
    return g.emit("Pad", data, g.ints(0, 0, *windows.pad, 0, 0, *windows.after), g.scalar(filler, data))


def _unpadded(windows: Windows) -> Windows:
    none = (0,) * windows.rank
    return replace(windows, pad=none, after=none)


def _slide(op: str, data: Value, windows: Windows, count_include_pad: int | None = None) -> Value:
    emit = single if op == "AveragePool" else data.g.emit
    pads = windows.pad + windows.after
    return emit(
        op,
        data,
        kernel_shape=windows.kernel,
        strides=windows.stride,
        pads=pads,
        count_include_pad=count_include_pad,
    )
