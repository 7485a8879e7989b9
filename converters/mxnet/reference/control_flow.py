"""Loops and branches, run as they are written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op


@numpy_op("_CachedOp")
def cached_op(node: Context, *data: np.ndarray) -> list[np.ndarray]:
    """The subgraph."""
    return node.run(node.node.subgraphs[0], data)


@numpy_op("_foreach")
def foreach(node: Context, *inputs: np.ndarray) -> list[np.ndarray]:
    """The body for each slice; states go from one to the next."""
    attrs = node.attrs
    data_at, states_at, rest_at = (
        attrs.integers(name, ()) for name in ("in_data_locs", "in_state_locs", "remain_locs")
    )
    data, states = inputs[: len(data_at)], list(inputs[len(data_at) : len(data_at) + len(states_at)])
    places = (*data_at, *states_at, *rest_at)
    rest = inputs[len(data_at) + len(states_at) :]
    rows: list[Sequence[np.ndarray]] = []
    for step in range(len(data[0])):
        given = dict(zip(places, (*(each[step] for each in data), *states, *rest), strict=True))
        heads = node.run(node.node.subgraphs[0], [given[place] for place in range(len(places))])
        rows.append(heads[: attrs.integer("num_out_data")])
        states = heads[attrs.integer("num_out_data") :]
    return [*map(np.stack, zip(*rows, strict=True)), *states]


@numpy_op("_while_loop")
def while_loop(node: Context, *inputs: np.ndarray) -> list[np.ndarray]:
    """The body as long as the condition holds. Rows that no step fills are zeros."""
    attrs, (condition, body) = node.attrs, node.node.subgraphs
    body_at, changed_at = attrs.integers("func_input_locs", ()), attrs.integers("func_var_locs", ())
    count, most = attrs.integer("num_out_data"), attrs.integer("max_iterations")
    values, rows = list(inputs), list[list[np.ndarray]]()
    while len(rows) < most:
        (holds,) = node.run(condition, [values[place] for place in attrs.integers("cond_input_locs", ())])
        if not holds.item():
            break
        heads = node.run(body, [values[place] for place in body_at])
        rows.append(heads[:count])
        for place, value in zip(changed_at, heads[count:], strict=True):
            values[body_at[place]] = value
    shapes = rows[0] if rows else node.run(body, [values[place] for place in body_at])[:count]
    outputs = [np.zeros((most, *each.shape), each.dtype) for each in shapes]
    for place, output in enumerate(outputs):
        output[: len(rows)] = [row[place] for row in rows] or output[:0]
    return [*outputs, *(values[body_at[place]] for place in changed_at)]


@numpy_op("_cond")
def cond(node: Context, *inputs: np.ndarray) -> list[np.ndarray]:
    """The branch that the condition chooses, and no other."""
    condition, then, other = node.node.subgraphs
    places = [node.attrs.integers(name, ()) for name in ("cond_input_locs", "then_input_locs", "else_input_locs")]
    (holds,) = node.run(condition, [inputs[place] for place in places[0]])
    chosen, at = (then, places[1]) if holds.item() else (other, places[2])
    return node.run(chosen, [inputs[place] for place in at])
