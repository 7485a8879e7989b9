"""Attributes of operators that slide a window over the spatial axes: kernel, stride, dilate, pad, layout."""

from __future__ import annotations

from dataclasses import dataclass

from converters.mxnet.registry import OpNode
from converters.mxnet.values import Size, Value

LARGEST = 1 << 13
"""Of each size and step of a window, far above those of any net."""
CHANNELS_LAST = {"NWC": 1, "NHWC": 2, "NDHWC": 3}
"""Layout -> its number of spatial axes."""
CHANNELS_FIRST = {"NCW": 1, "NCHW": 2, "NCDHW": 3}


@dataclass(frozen=True)
class Window:
    """One number for each spatial axis; `pad` counts at both ends."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilate: tuple[int, ...]
    pad: tuple[int, ...]

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.kernel)

    @property
    def extent(self) -> tuple[int, ...]:
        """From the first to the last element that the kernel covers."""
        return tuple((kernel - 1) * dilate + 1 for kernel, dilate in zip(self.kernel, self.dilate, strict=True))


def window_of(node: OpNode, rank: int) -> Window:
    """The window of a node whose data has `rank` axes, batch and channels among them.

    `kernel` is required; stride and dilate default to 1, pad to 0, each for every axis. Refuses another number of
    axes than the data's.
    """
    kernel = node.attrs.integers("kernel")
    if len(kernel) not in (1, 2, 3) or len(kernel) + 2 != rank:
        raise node.refuse(f"attribute 'kernel': expected one size for each spatial axis of {rank}-D data, got {kernel}")
    axes = len(kernel)
    return Window(
        checked(node, "kernel", kernel, axes, least=1),
        checked(node, "stride", node.attrs.integers("stride", (1,) * axes), axes, least=1),
        checked(node, "dilate", node.attrs.integers("dilate", (1,) * axes), axes, least=1),
        checked(node, "pad", node.attrs.integers("pad", (0,) * axes), axes, least=0),
    )


def checked(node: OpNode, attribute: str, numbers: tuple[int, ...], axes: int, least: int) -> tuple[int, ...]:
    """The numbers, one for each of `axes`, if they are within `least` and `LARGEST`."""
    if len(numbers) != axes or not all(least <= number <= LARGEST for number in numbers):
        raise node.refuse(f"attribute {attribute!r}: expected {axes} numbers from {least} to {LARGEST}, got {numbers}")
    return numbers


def channels_last(node: OpNode, rank: int) -> bool:
    """Whether `layout` puts the channels last; refuses one that data of `rank` axes can't have."""
    layout = node.attrs.text("layout", "None")
    if layout == "None":
        return False
    axes = (CHANNELS_FIRST | CHANNELS_LAST).get(layout)
    if axes is None or axes + 2 != rank:
        raise node.refuse(f"attribute 'layout': expected a layout of {rank}-D data, got {layout!r}")
    return layout in CHANNELS_LAST


def padded_shape(data: Value, window: Window) -> tuple[Size, ...]:
    """The shape of data, channels first, with the padding around it."""
    sizes = zip(data.shape[2:], window.pad, strict=True)
    return (*data.shape[:2], *(size + 2 * pad if isinstance(size, int) else size for size, pad in sizes))


def to_channels_first(value: Value) -> Value:
    """(N, .., C) as (N, C, ..)."""
    return value.transpose(0, value.rank - 1, *range(1, value.rank - 1))


def to_channels_last(value: Value) -> Value:
    """(N, C, ..) as (N, .., C)."""
    return value.transpose(0, *range(2, value.rank), 1)
