"""Elements repeated: broadcast_to, broadcast_axis, broadcast_like, tile and repeat."""

from __future__ import annotations

from collections.abc import Sequence

from converters.mxnet.ops.axes import axes_of, axis_of, bounded
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value


def expanded(node: OpNode, data: Value, sizes: Sequence[Size]) -> Value:
    """Axes of size 1 as large as `sizes` say, with new axes in front; the others must have these sizes already."""
    target = bounded(node, sizes)
    for size, wanted in zip(data.shape, target[len(target) - data.rank :], strict=True):
        if isinstance(size, int) and isinstance(wanted, int) and size not in (1, wanted):
            raise node.refuse(f"can't broadcast {data} to ({', '.join(map(str, target))})")
    # ONNX Runtime's Expand leaves a size of 1 where 0 is wanted, but a scalar has none.
    source = node.g.scalar(0, data) if 0 in target else data
    return data if target == data.shape else node.g.emit("Expand", source, node.g.sizes(target), shape=target)


@mxnet_op("broadcast_to")
def broadcast_to(node: OpNode, data: Value) -> Value:
    """To `shape`, of as many axes as `data` has; a 0 keeps the size."""
    shape = node.attrs.integers("shape", ())
    if len(shape) != data.rank:
        raise node.refuse(f"attribute 'shape': expected {data.rank} sizes for {data}, got {shape}")
    return expanded(node, data, [size or data.shape[axis] for axis, size in enumerate(shape)])


@mxnet_op("_npi_broadcast_to")
def np_broadcast_to(node: OpNode, array: Value) -> Value:
    """To `shape`, as numpy does: axes may be added in front; a -1 keeps the size."""
    shape = node.attrs.integers("shape", ())
    added = len(shape) - array.rank
    if added < 0:
        raise node.refuse(f"attribute 'shape': expected at least {array.rank} sizes for {array}, got {shape}")
    return expanded(
        node,
        array,
        [array.shape[axis - added] if size == -1 and axis >= added else size for axis, size in enumerate(shape)],
    )


@mxnet_op("broadcast_axis")
def broadcast_axis(node: OpNode, data: Value) -> Value:
    """The axes `axis`, of size 1, repeated to the sizes `size`."""
    axes = axes_of(node, node.attrs.integers("axis", ()), data.rank)
    sizes: dict[int, Size] = dict(zip(axes, node.attrs.integers("size", ()), strict=True))
    return expanded(node, data, _replaced(node, data, sizes))


@mxnet_op("broadcast_like")
def broadcast_like(node: OpNode, lhs: Value, rhs: Value) -> Value:
    """`lhs` as large as `rhs`: along `lhs_axes` as `rhs` is along `rhs_axes`, or along all."""
    attrs = node.attrs
    if "lhs_axes" not in attrs and "rhs_axes" not in attrs:
        if lhs.rank != rhs.rank:
            raise node.refuse(f"without axes, expected inputs of one rank, got {lhs} and {rhs}")
        return expanded(node, lhs, rhs.shape)
    left = axes_of(node, attrs.integers("lhs_axes"), lhs.rank, "lhs_axes")
    right = axes_of(node, attrs.integers("rhs_axes"), rhs.rank, "rhs_axes")
    sizes = {axis: rhs.shape[other] for axis, other in zip(left, right, strict=True)}
    return expanded(node, lhs, _replaced(node, lhs, sizes))


def _replaced(node: OpNode, data: Value, sizes: dict[int, Size]) -> list[Size]:
    for axis, size in sizes.items():
        if isinstance(data.shape[axis], int) and data.shape[axis] not in (1, size):
            raise node.refuse(f"expected a size of 1 or {size} along axis {axis}, got {data}")
    return [sizes.get(axis, size) for axis, size in enumerate(data.shape)]


@mxnet_op("tile")
def tile(node: OpNode, a: Value) -> Value:
    """The whole tensor `reps` times along each axis, as numpy's: the shorter of shape and `reps` gets ones in front."""
    reps = node.attrs.integers("reps", ())
    rank = max(a.rank, len(reps))
    data = node.g.reshape(a, (*(1,) * (rank - a.rank), *a.shape))
    counts = (*(1,) * (rank - len(reps)), *reps)
    shape = bounded(node, [node.g.product((count, size)) for count, size in zip(counts, data.shape, strict=True)])
    return data if set(counts) <= {1} else node.g.emit("Tile", data, node.g.ints(*counts), shape=shape)


@mxnet_op("repeat")
def repeat(node: OpNode, data: Value) -> Value:
    """Each element `repeats` times along `axis`; without an axis the tensor is flattened first."""
    g, count = node.g, node.attrs.integer("repeats")
    place = node.attrs.integer("axis", None)
    if count < 0:
        raise node.refuse(f"attribute 'repeats': expected 0 or more, got {count}")
    whole = g.reshape(data, (g.product(data.shape),)) if place is None else data
    axis = 0 if place is None else axis_of(node, place, data.rank)
    return repeated(node, whole, axis, count)


def repeated(node: OpNode, data: Value, axis: int, count: int) -> Value:
    """Each element `count` times along an axis."""
    before, size, after = data.shape[:axis], data.shape[axis], data.shape[axis + 1 :]
    shape = bounded(node, (*before, node.g.product((size, count)), *after))
    copies = expanded(node, data.unsqueeze(axis + 1), (*before, size, count, *after))
    return node.g.reshape(copies, shape)
