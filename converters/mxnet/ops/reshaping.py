"""Reshape in MXNet's three languages: the codes of `Reshape`, those of `npx.reshape`, and numpy's -1.

Codes are matched to the input's sizes from left to right. Sizes may be unknown: those that are copied stay symbolic,
and what is inferred is computed from the names where they cancel out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from converters.mxnet.ops.axes import axis_of
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value

INFER = -1
MAX_CODES = 64
"""Numbers of a target shape."""


class Matching:
    """The walk along an input's sizes and the codes of a target shape."""

    def __init__(self, node: OpNode, sizes: Sequence[Size], codes: Sequence[int]) -> None:
        if len(codes) > MAX_CODES:
            raise node.refuse(f"expected a shape of at most {MAX_CODES} numbers, got {len(codes)}")
        self.node = node
        self.sizes = list(sizes)
        self.codes = list(codes)
        self.made: list[Size] = []

    def take(self, count: int = 1) -> list[Size]:
        """The input's next sizes, all of which must exist."""
        if len(self.sizes) < count:
            raise self.node.refuse("attribute 'shape': its codes copy more dimensions than the input has")
        taken, self.sizes = self.sizes[:count], self.sizes[count:]
        return taken

    def copy(self) -> None:
        """The same size."""
        self.made += self.take()

    def rest(self) -> None:
        """All sizes that are left; codes may follow that add more."""
        self.made += self.take(len(self.sizes))

    def merge(self) -> None:
        """The product of two."""
        self.made.append(self.node.g.product(self.take(2)))

    def split(self) -> None:
        """One size as the two that follow in the codes, one of which may be inferred."""
        (whole,) = self.take()
        first, second, *self.codes = self.codes
        if first == INFER:
            self.made += [quotient(self.node, [whole], [second]), second]
        else:
            self.made += [first, quotient(self.node, [whole], [first]) if second == INFER else second]

    def skip(self) -> None:
        """Leaves out a size of 1; an unknown one is what the model says."""
        if isinstance(size := self.take()[0], int) and size != 1:
            raise self.node.refuse("attribute 'newshape': code -3 skips dimensions of size 1 only")

    def number(self, code: int) -> None:
        """A size that is given, or inferred later; it stands for one of the input's, if there are more."""
        if code < INFER:
            raise self.node.refuse(f"a shape has no code {code}")
        self.made.append(code)
        self.sizes = self.sizes[1:]

    def run(self, actions: Mapping[int, Callable[[Matching], None]]) -> list[Size]:
        """The target sizes, of which one may be -1."""
        while self.codes:
            code = self.codes.pop(0)
            action = actions.get(code)
            if action is None:
                self.number(code)
            else:
                action(self)
        return self.made


RESHAPE_CODES: Mapping[int, Callable[[Matching], None]] = {
    0: Matching.copy, -2: Matching.rest, -3: Matching.merge, -4: Matching.split,
}  # fmt: skip
NPX_CODES: Mapping[int, Callable[[Matching], None]] = {
    -2: Matching.copy, -3: Matching.skip, -4: Matching.rest, -5: Matching.merge, -6: Matching.split,
}  # fmt: skip


@mxnet_op("Reshape")
def reshape(node: OpNode, data: Value) -> Value:
    """`shape` holds sizes and codes: 0 copy, -1 infer, -2 all the rest, -3 product of two, -4 split in two.

    `reverse` matches both from the right, the operands of -4 included: they stand before it then. MXNet 1.9.1 writes
    the inferred size to the wrong place, or out of bounds, where -2 or -4 stands before -1: here it goes where it
    belongs. Old files say `target_shape`, where 0 is inferred; with `keep_highest` its first size is copied.
    """
    attrs = node.attrs
    codes = attrs.integers("shape", ())
    if not codes and "target_shape" in attrs:
        return _resized(node, data, _old_target(node, data))
    if not codes:
        raise node.refuse("attribute 'shape' is missing")
    return coded(node, data, codes, RESHAPE_CODES)


@mxnet_op("_npx_reshape")
def npx_reshape(node: OpNode, a: Value) -> Value:
    """`newshape` with codes: -1 infer, -2 copy, -3 skip a 1, -4 all the rest, -5 product of two, -6 split in two."""
    return coded(node, a, node.attrs.integers("newshape"), NPX_CODES)


def coded(node: OpNode, data: Value, codes: Sequence[int], actions: Mapping[int, Callable[[Matching], None]]) -> Value:
    """Reshaped by codes, from the right if the node says `reverse`."""
    step = -1 if node.attrs.boolean("reverse", False) else 1
    made = Matching(node, data.shape[::step], codes[::step]).run(actions)
    return _resized(node, data, made[::step])


def _old_target(node: OpNode, data: Value) -> list[Size]:
    codes: list[Size] = [INFER if size == 0 else size for size in node.attrs.integers("target_shape")]
    return [data.shape[0], *codes[1:]] if node.attrs.boolean("keep_highest", False) else codes


@mxnet_op("_np_reshape")
def np_reshape(node: OpNode, a: Value) -> Value:
    """`newshape` as numpy knows it: sizes, one of which may be -1. Order C only."""
    if node.attrs.text("order", "C") != "C":
        raise node.refuse(f"attribute 'order': expected 'C', got {node.attrs.text('order')!r}")
    newshape = node.attrs.integers("newshape", ())
    if any(size < INFER for size in newshape):
        raise node.refuse(f"attribute 'newshape': expected sizes and -1, got {newshape}")
    return _resized(node, a, newshape)


@mxnet_op("reshape_like")
def reshape_like(node: OpNode, lhs: Value, rhs: Value) -> Value:
    """`lhs` with its sizes `lhs_begin:lhs_end` replaced by those of `rhs`, `rhs_begin:rhs_end`; all by default."""
    left, right = _span(node, lhs, "lhs"), _span(node, rhs, "rhs")
    sizes = [*lhs.shape[: left.start], *rhs.shape[right], *lhs.shape[left.stop :]]
    _check_count(node, lhs, sizes)
    return node.g.emit("Reshape", lhs, node.g.sizes(sizes), shape=sizes)


def _span(node: OpNode, value: Value, side: str) -> slice:
    begin, end = node.attrs.integer(f"{side}_begin", 0), node.attrs.integer(f"{side}_end", value.rank)
    first = axis_of(node, begin, value.rank + (begin > 0), f"{side}_begin") if begin else 0
    last = end if end >= 0 else end + value.rank
    if not first <= last <= value.rank:
        raise node.refuse(f"attribute '{side}_end': expected {first} to {value.rank}, got {end}")
    return slice(first, last)


def _resized(node: OpNode, data: Value, made: Sequence[Size]) -> Value:
    """In a shape where one size may be inferred."""
    sizes = list(made)
    if sizes.count(INFER) > 1:
        raise node.refuse("a shape may have one size to infer, got several")
    if INFER in sizes:
        others = [size for size in sizes if size != INFER]
        sizes[sizes.index(INFER)] = quotient(node, data.shape, others)
    _check_count(node, data, sizes)
    return node.g.reshape(data, sizes)


def _check_count(node: OpNode, data: Value, sizes: Sequence[Size]) -> None:
    """Refuses another number of elements, where both are known up to the same names."""
    (before, names), (after, others) = _factors(data.shape), _factors(sizes)
    if names == others and before != after:
        raise node.refuse(f"can't give {data} the shape ({', '.join(map(str, sizes))})")


def quotient(node: OpNode, whole: Iterable[Size], parts: Iterable[Size]) -> Size:
    """The product of `whole` over that of `parts`: by number and name where they divide, else measured in the graph."""
    (number, names), (divisor, dividers) = _factors(whole), _factors(parts)
    for name in list(dividers):
        if name in names:
            names.remove(name)
            dividers.remove(name)
    if divisor < 1:
        raise node.refuse("a size can't be inferred beside a size of 0")
    if not dividers and number % divisor == 0:
        return node.g.product([*names, number // divisor])
    if not names and not dividers:
        raise node.refuse(f"expected sizes that divide {number} elements, got {divisor}")
    g = node.g

    def measure() -> Value:
        below = g.size(g.product([*dividers, divisor]))
        # A batch of no rows leaves 0 / 0, which stops the whole process in integers.
        return g.emit("Div", g.size(g.product([*names, number])), g.emit("Max", below, g.ints(1)))

    return g.new_size(measure)


def _factors(sizes: Iterable[Size]) -> tuple[int, list[str]]:
    """The product of the numbers, and the names in order."""
    number, names = 1, []
    for size in sizes:
        if isinstance(size, int):
            number *= size
        else:
            names.append(size)
    return number, sorted(names)
