"""Loops and branches: MXNet's subgraphs become the bodies of ONNX's Scan, Loop and If.

A subgraph reads its own variables only; attributes say which of the node's inputs they stand for. Bodies see the graph
around them, so what is the same in every step is not passed on but named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx

from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.symbol import Graph
from converters.mxnet.values import Size, Value

MAX_ITERATIONS = 1 << 20
"""Of a while loop: its outputs have as many rows, executed or not."""


@mxnet_op("_CachedOp")
def cached_op(node: OpNode, *data: Value) -> list[Value]:
    """A hybridised block inside of a graph: its subgraph in place."""
    return node.translate(_subgraphs(node, 1)[0], node.g, data)


@mxnet_op("_foreach")
def foreach(node: OpNode, *inputs: Value) -> list[Value]:
    """Runs the body for each slice of the data along axis 0; gives outputs stacked along axis 0, then the last states.

    Inputs are data, states, and what the body reads besides.
    """
    (body,) = _subgraphs(node, 1)
    names = ("in_data_locs", "in_state_locs", "remain_locs")
    places = [_places(node, name, len(body.arguments)) for name in names]
    data, states, rest = _parts(inputs, [len(each) for each in places])
    inner = node.g.subgraph()
    slices = [inner.argument(value.dtype, value.shape[1:]) for value in data]
    carried = [inner.argument(state.dtype, state.shape) for state in states]
    given = [*slices, *carried, *map(inner.seen, rest)]
    bound = dict(zip((place for each in places for place in each), given, strict=True))
    heads = node.translate(body, inner, [bound[place] for place in range(len(body.arguments))])
    outputs, last = _apart(node, "a state", heads, carried)
    types = [*carried, *(_like(output, (data[0].shape[0], *output.shape)) for output in outputs)]
    graph = inner.body([*carried, *slices], [*last, *outputs])
    read = (*states, *data)
    made = node.g.emit_many("Scan", *read, outputs=len(types), types=types, body=graph, num_scan_inputs=len(data))
    return [*made[len(states) :], *made[: len(states)]]


@mxnet_op("_while_loop")
def while_loop(node: OpNode, *inputs: Value) -> list[Value]:
    """Runs the body while the condition holds, `max_iterations` times at most; gives outputs stacked along axis 0, and
    the last variables.

    Outputs have `max_iterations` rows. Those after the last step are memory as it comes in MXNet, and zeros here.
    """
    condition, body = _subgraphs(node, 2)
    most = _iterations(node, condition)
    condition_at, body_at = (_places(node, name, len(inputs)) for name in ("cond_input_locs", "func_input_locs"))
    variables_at = [body_at[place] for place in _places(node, "func_var_locs", len(body_at))]
    variables = [inputs[place] for place in variables_at]
    inner = node.g.subgraph()
    step, going = inner.argument(np.dtype(np.int64), ()), inner.argument(np.dtype(np.bool_), ())
    carried = [inner.argument(value.dtype, value.shape) for value in variables]
    around = list(map(inner.seen, inputs))
    now = _replaced(around, variables_at, carried)
    outputs, changed = _apart(node, "a variable", node.translate(body, inner, [now[at] for at in body_at]), carried)
    then = _replaced(around, variables_at, changed)
    again = _truth(node.translate(condition, inner, [then[at] for at in condition_at])[0])
    start = _truth(node.translate(condition, node.g, [inputs[at] for at in condition_at])[0])
    graph = inner.body([step, going, *carried], [again, *changed, *outputs])
    executed = node.g.new_size(lambda: made[-1].g.emit("Shape", made[-1], start=0, end=1, shape=(1,)))
    types = [*carried, *(_like(output, (executed, *output.shape)) for output in outputs)]
    limit = node.g.const(most, np.int64)
    made = node.g.emit_many("Loop", limit, start, *variables, outputs=len(types), types=types, body=graph)
    return [*(_padded(value, most) for value in made[len(variables) :]), *made[: len(variables)]]


def _iterations(node: OpNode, condition: Graph) -> int:
    most: int = node.attrs.integer("max_iterations")
    if not 0 < most <= MAX_ITERATIONS:
        raise node.refuse(f"attribute 'max_iterations': expected 1 to {MAX_ITERATIONS}, got {most}")
    # It is written twice: of loops within loops, there would be a great many.
    if any(inner.subgraphs for inner in condition.nodes):
        raise node.refuse("its condition must be without loops and branches of its own")
    return most


@mxnet_op("_cond")
def cond(node: OpNode, *inputs: Value) -> list[Value]:
    """One of two branches, as the first subgraph says; both give tensors of the same shapes."""
    condition, *branches = _subgraphs(node, 3)
    places = [_places(node, name, len(inputs)) for name in ("cond_input_locs", "then_input_locs", "else_input_locs")]
    chosen = _truth(node.translate(condition, node.g, [inputs[place] for place in places[0]])[0])
    (then, types), (other, others) = (
        _branch(node, branch, [inputs[place] for place in at]) for branch, at in zip(branches, places[1:], strict=True)
    )
    _same(node, "an output", types, others)
    return list(node.g.emit_many("If", chosen, outputs=len(types), types=types, then_branch=then, else_branch=other))


def _branch(node: OpNode, branch: Graph, inputs: Sequence[Value]) -> tuple[onnx.GraphProto, list[Value]]:
    inner = node.g.subgraph()
    heads = node.translate(branch, inner, [inner.seen(value) for value in inputs])
    return inner.body([], heads), heads


def _subgraphs(node: OpNode, count: int) -> tuple[Graph, ...]:
    found = node.node.subgraphs
    if len(found) != count:
        raise node.refuse(f"expected {count} subgraphs, got {len(found)}")
    return found


def _places(node: OpNode, name: str, count: int) -> tuple[int, ...]:
    places: tuple[int, ...] = node.attrs.integers(name, ())
    if not all(0 <= place < count for place in places):
        raise node.refuse(f"attribute {name!r}: expected places below {count}, got {places}")
    return places


def _parts(values: Sequence[Value], lengths: Sequence[int]) -> Iterator[Sequence[Value]]:
    """Consecutive parts; the last takes all that is left."""
    for length in lengths[:-1]:
        yield values[:length]
        values = values[length:]
    yield values


def _apart(node: OpNode, what: str, heads: list[Value], carried: Sequence[Value]) -> tuple[list[Value], list[Value]]:
    """A body's outputs, and after them what the next step is given in the place of `carried`."""
    count = len(heads) - len(carried)
    return heads[:count], _same(node, what, carried, heads[count:])


def _replaced(values: Sequence[Value], places: Sequence[int], others: Sequence[Value]) -> list[Value]:
    changed = dict(zip(places, others, strict=True))
    return [changed.get(place, value) for place, value in enumerate(values)]


def _same(node: OpNode, what: str, before: Sequence[Value], after: list[Value]) -> list[Value]:
    """`after`; refuses values of other dtypes and ranks than `before`, which no loop or branch may have."""
    kinds, others = ([(value.dtype, value.rank) for value in values] for values in (before, after))
    if kinds != others:
        shown = (", ".join(map(str, values)) for values in (before, after))
        raise node.refuse(f"{what} must keep dtype and rank, got {' and '.join(shown)}")
    return after


def _truth(value: Value) -> Value:
    """A tensor of one element, of any dtype, as a condition of ONNX."""
    return value.g.reshape(value.cast(np.bool_), ())


def _like(value: Value, shape: Sequence[Size]) -> Value:
    return Value(value.g, value.name, value.dtype, tuple(shape))


def _padded(value: Value, rows: int) -> Value:
    """With rows of zeros at the end. Of sizes that only the body knows, ONNX Runtime gives 0 where no step is made."""
    g, row = value.g, value.shape[1:]
    if any(isinstance(size, str) for size in row):
        value = g.emit("Reshape", value, g.sizes(value.shape), shape=value.shape, allowzero=1)
    missing = g.ints(rows) - g.size(value.shape[0])
    nothing = g.emit("Expand", g.scalar(0, value), g.emit("Concat", missing, g.sizes(row), axis=0))
    return g.emit("Concat", value, nothing, axis=0, shape=(rows, *row))
