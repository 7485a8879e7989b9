"""Loops and branches, in graphs as MXNet writes them: subgraphs with their own variables, found by attributes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from converters.mxnet.reference.interpreter import run_graph
from converters.mxnet.symbol import VARIABLE, Entry, Graph, Node
from model_store.errors import ConversionError
from tests.converters.mxnet.operators import LATEST, f32, translated

X, Y, Z = (Node(VARIABLE, name) for name in "xyz")


def op(name: str, *inputs: int, subgraphs: Sequence[Graph] = (), **attributes: object) -> Node:
    texts = {key: str(value) for key, value in attributes.items()}
    return Node(name, name, tuple((place, 0) for place in inputs), texts, subgraphs=tuple(subgraphs))


def graph(*nodes: Node, heads: Sequence[int | Entry]) -> Graph:
    variables = tuple(place for place, node in enumerate(nodes) if node.op == VARIABLE)
    return Graph(nodes, tuple((head, 0) if isinstance(head, int) else head for head in heads), variables, LATEST)


def both(whole: Graph, *arrays: object) -> list[list[list[float]]]:
    """The answers, as lists, of ONNX Runtime and of numpy."""
    inputs = [f32(array) for array in arrays]
    runs = (translated(whole, inputs), run_graph(whole, dict(enumerate(inputs))))
    return [[head.tolist() for head in heads] for heads in runs]


RUNNING_SUM = graph(X, Y, op("elemwise_add", 0, 1), op("_mul_scalar", 2, scalar=10), heads=[3, 2])
"""(slice, state) -> ten times the sum, the sum."""
LOCS = {"in_data_locs": "[0]", "in_state_locs": "[1]", "remain_locs": "[]", "num_out_data": 1}


def test_foreach_stacks_outputs_and_gives_the_last_states() -> None:
    loop = graph(X, Y, op("_foreach", 0, 1, subgraphs=[RUNNING_SUM], **LOCS), heads=[2, (2, 1)])
    expected = [[[10.0, 20.0], [40.0, 60.0], [90.0, 120.0]], [9.0, 12.0]]
    assert both(loop, [[1, 2], [3, 4], [5, 6]], [0, 0]) == [expected, expected]


def test_foreach_reads_what_lies_around_it() -> None:
    body = graph(X, Y, op("broadcast_mul", 1, 0), heads=[2])
    attributes = {"in_data_locs": "[1]", "in_state_locs": "[]", "remain_locs": "[0]", "num_out_data": 1}
    scaled = op("_mul_scalar", 1, scalar=2)
    loop = graph(X, Y, scaled, op("_foreach", 0, 2, subgraphs=[body], **attributes), heads=[3])
    assert both(loop, [[1, 2], [3, 4]], [3]) == [[[[6.0, 12.0], [18.0, 24.0]]]] * 2


def test_loops_may_be_nested() -> None:
    outer = graph(X, Y, op("_foreach", 0, 1, subgraphs=[RUNNING_SUM], **LOCS), heads=[2, (2, 1)])
    loop = graph(X, Y, op("_foreach", 0, 1, subgraphs=[outer], **LOCS), heads=[2, (2, 1)])
    expected = [[[[10.0], [30.0]], [[60.0], [100.0]]], [10.0]]
    assert both(loop, [[[1], [2]], [[3], [4]]], [0]) == [expected, expected]


def test_a_branch_inside_a_loop_is_chosen_in_each_step() -> None:
    predicate, doubled, negative = (
        graph(X, op(name, 0, scalar=number), heads=[1])
        for name, number in (("_greater_scalar", 2), ("_mul_scalar", 2), ("_mul_scalar", -1))
    )
    places = {"cond_input_locs": "[0]", "then_input_locs": "[0]", "else_input_locs": "[0]"}
    body = graph(X, op("_cond", 0, subgraphs=[predicate, doubled, negative], **places), heads=[1])
    attributes = {"in_data_locs": "[0]", "in_state_locs": "[]", "remain_locs": "[]", "num_out_data": 1}
    loop = graph(X, op("_foreach", 0, subgraphs=[body], **attributes), heads=[1])
    assert both(loop, [[1], [3], [2], [5]]) == [[[[-1.0], [6.0], [-2.0], [10.0]]]] * 2


def while_loop(limit: float, most: int) -> Graph:
    """x doubles while it is below `limit`; each step gives x + y."""
    condition = graph(X, op("_lesser_scalar", 0, scalar=limit), heads=[1])
    body = graph(X, Y, op("broadcast_add", 0, 1), op("_mul_scalar", 0, scalar=2), heads=[2, 3])
    attributes = {"cond_input_locs": "[0]", "func_input_locs": "[0, 1]", "func_var_locs": "[0]"}
    node = op("_while_loop", 0, 1, subgraphs=[condition, body], max_iterations=most, num_out_data=1, **attributes)
    return graph(X, Y, node, heads=[2, (2, 1)])


def test_while_loop_fills_the_rows_of_steps_that_it_does_not_execute_with_zeros() -> None:
    expected = [[[11.0, 21.0], [12.0, 22.0], [14.0, 24.0], [0.0, 0.0], [0.0, 0.0]], [8.0]]
    assert both(while_loop(8, 5), [1], [10, 20]) == [expected, expected]


def test_while_loop_ends_after_max_iterations() -> None:
    expected = [[[11.0], [12.0]], [4.0]]
    assert both(while_loop(100, 2), [1], [10]) == [expected, expected]


def test_while_loop_without_a_step_gives_its_variables_back() -> None:
    condition = graph(X, op("sum", 0), op("_lesser_scalar", 1, scalar=8), heads=[2])
    body = graph(X, op("_mul_scalar", 0, scalar=2), heads=[0, 1])
    attributes = {"cond_input_locs": "[0]", "func_input_locs": "[0]", "func_var_locs": "[0]"}
    node = op("_while_loop", 0, subgraphs=[condition, body], max_iterations=3, num_out_data=1, **attributes)
    expected = [[[0.0, 0.0]] * 3, [9.0, 9.0]]
    assert both(graph(X, node, heads=[1, (1, 1)]), [9, 9]) == [expected, expected]


PLACES = {"cond_input_locs": "[0]", "then_input_locs": "[1, 2]", "else_input_locs": "[2]"}


@pytest.mark.parametrize(("predicate", "expected"), [(1, [[11.0, 22.0]]), (0, [[-10.0, -20.0]])])
def test_branches_read_different_inputs(predicate: float, expected: list[list[float]]) -> None:
    bare = graph(X, heads=[0])
    then = graph(X, Y, op("elemwise_add", 0, 1), heads=[2])
    other = graph(X, op("negative", 0), heads=[1])
    chosen = graph(X, Y, Z, op("_cond", 0, 1, 2, subgraphs=[bare, then, other], **PLACES), heads=[3])
    assert both(chosen, [predicate], [1, 2], [10, 20]) == [expected, expected]


def test_a_hybridised_block_is_written_in_place() -> None:
    inner = graph(X, Y, op("elemwise_sub", 0, 1), heads=[2, 0])
    whole = graph(X, Y, op("_CachedOp", 1, 0, subgraphs=[inner]), heads=[2, (2, 1)])
    expected = [[2.0, 3.0], [5.0, 7.0]]
    assert both(whole, [3, 4], [5, 7]) == [expected, expected]


def message(whole: Graph, *arrays: object) -> str:
    with pytest.raises(ConversionError) as error:
        translated(whole, [f32(array) for array in arrays])
    return error.value.message


def test_an_absurd_count_of_iterations_is_refused() -> None:
    assert "attribute 'max_iterations': expected 1 to 1048576, got 1000000000" in message(
        while_loop(8, 10**9), [1], [1]
    )


def test_a_condition_with_a_loop_inside_is_refused() -> None:
    inner = while_loop(8, 2)
    condition = graph(X, Y, *inner.nodes[2:], heads=[2])
    body = graph(X, Y, op("_mul_scalar", 0, scalar=2), heads=[2])
    attributes = {"cond_input_locs": "[0, 1]", "func_input_locs": "[0, 1]", "func_var_locs": "[0]"}
    node = op("_while_loop", 0, 1, subgraphs=[condition, body], max_iterations=3, num_out_data=0, **attributes)
    assert "must be without loops and branches of its own" in message(graph(X, Y, node, heads=[2]), [1], [1])


def test_places_beyond_the_inputs_are_refused() -> None:
    loop = graph(X, Y, op("_foreach", 0, 1, subgraphs=[RUNNING_SUM], **(LOCS | {"in_data_locs": "[7]"})), heads=[2])
    assert "attribute 'in_data_locs': expected places below 2, got (7,)" in message(loop, [[1]], [0])


def test_a_state_that_changes_its_dtype_is_refused() -> None:
    body = graph(X, Y, op("Cast", 1, dtype="int32"), heads=[0, 2])
    loop = graph(X, Y, op("_foreach", 0, 1, subgraphs=[body], **LOCS), heads=[2])
    assert "a state must keep dtype and rank, got float32[x1_0] and int32[x1_0]" in message(loop, [[1]], [0])


def test_a_loop_without_a_body_is_refused() -> None:
    assert "expected 1 subgraphs, got 0" in message(graph(X, Y, op("_foreach", 0, 1, **LOCS), heads=[2]), [[1]], [0])
