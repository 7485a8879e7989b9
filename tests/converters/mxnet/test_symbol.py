"""symbol.json: where releases put attributes, what an entry may be, and what is refused."""

import json
from typing import Any

import pytest

from converters.mxnet.binding import bind, complete
from converters.mxnet.symbol import Origin, parse_symbol
from model_store.errors import SourceError


def graph_of(nodes: list[dict[str, Any]], heads: list[list[int]] | None = None, **more: Any) -> Any:
    document = {"nodes": nodes, "heads": heads if heads is not None else [[len(nodes) - 1, 0]], **more}
    return parse_symbol(json.dumps(document).encode(), "net-symbol.json")


def variable(name: str, **more: Any) -> dict[str, Any]:
    return {"op": "null", "name": name, "inputs": [], **more}


def test_attributes_are_merged_from_all_places_where_a_release_put_them() -> None:
    node = {"op": "Pooling", "name": "p", "inputs": [[0, 0]], "param": {"kernel": "(1,1)", "stride": "(1,1)"},
            "attr": {"stride": "(2,2)"}, "attrs": {"pool_type": "avg"}}  # fmt: skip
    (_, pooling) = graph_of([variable("data"), node]).nodes
    assert pooling.texts == {"kernel": "(1,1)", "stride": "(2,2)", "pool_type": "avg"}


def test_hints_are_kept_apart_from_what_the_operator_computes() -> None:
    hints = {"__shape__": "(0, 3)", "lr_mult": "2", "weight_lr_mult": "1", "ctx_group": "a", "__init__": '["zero", {}]'}
    (data,) = graph_of([variable("data", attrs={**hints, "act_type": "relu"})]).nodes
    assert data.texts == {"act_type": "relu"}
    assert data.hints == hints


def test_alias_becomes_the_canonical_name() -> None:
    nodes = [variable("data"), *({"op": op, "name": op, "inputs": [[0, 0]]} for op in ("crop", "Crop"))]
    assert [node.op for node in graph_of(nodes).nodes] == ["null", "slice", "Crop"]


def test_third_number_of_an_entry_is_ignored() -> None:
    graph = graph_of([variable("a"), {"op": "relu", "name": "n", "inputs": [[0, 0, 3]]}], [[1, 0, 0]])
    assert (graph.nodes[1].inputs, graph.heads) == (((0, 0),), ((1, 0),))


def test_version_and_numpy_shapes_are_told_or_0_8_0_without_them() -> None:
    assert graph_of([variable("a")]).origin == Origin(800, False)
    assert graph_of([variable("a")], attrs={"mxnet_version": ["int", 10901]}).origin == Origin(10901, False)
    attrs = {"mxnet_version": ["int", 10700], "is_np_shape": ["int", 1]}
    assert graph_of([variable("a")], attrs=attrs).origin == Origin(10700, True)


@pytest.mark.parametrize(
    ("nodes", "heads", "message"),
    [
        ([variable("a")], [], "names no heads"),
        ([variable("a")], [[1, 0]], "a head refers to"),
        ([variable("a")], [[0]], "a head refers to"),
        ([{"op": "relu", "name": "r", "inputs": [[0, 0]]}], [[0, 0]], "node 'r' refers to"),
        ([{"op": "relu", "name": "r", "inputs": [[-1, 0]]}], [[0, 0]], "node 'r' refers to"),
    ],
)
def test_entry_that_leads_nowhere_is_refused(nodes: Any, heads: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        graph_of(nodes, heads)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"nodes": 3}', b"\xff\xfe", b'{"nodes":[{"op":1}]}', b"[" * 9999])
def test_text_that_is_no_graph_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"is no symbol\.json of MXNet"):
        parse_symbol(data, "net-symbol.json")


def test_states_that_old_files_leave_out_become_variables_and_labels_go() -> None:
    nodes = [
        variable("data"), variable("bn_gamma"), variable("bn_beta"),
        {"op": "BatchNorm", "name": "bn", "inputs": [[0, 0], [1, 0], [2, 0]]},
        variable("softmax_label"),
        {"op": "Softmax", "name": "softmax", "inputs": [[3, 0], [4, 0]]},
    ]  # fmt: skip
    binding = bind(
        complete(graph_of(nodes)), ["arg:bn_gamma", "arg:bn_beta", "aux:bn_moving_mean", "aux:bn_moving_var"]
    )
    assert list(binding.inputs) == ["data"]
    assert sorted(binding.parameters.values()) == [
        "arg:bn_beta", "arg:bn_gamma", "aux:bn_moving_mean", "aux:bn_moving_var",
    ]  # fmt: skip


def test_inputs_are_ordered_depth_first_from_the_heads() -> None:
    nodes = [
        variable("late"), variable("early"),
        {"op": "relu", "name": "r", "inputs": [[0, 0]]},
        {"op": "elemwise_add", "name": "sum", "inputs": [[1, 0], [2, 0]]},
    ]  # fmt: skip
    assert list(bind(complete(graph_of(nodes)), []).inputs) == ["early", "late"]


def test_state_is_looked_up_as_auxiliary_first() -> None:
    nodes = [variable("data"), *(variable(name) for name in ("g", "b", "mean", "var")),
             {"op": "BatchNorm", "name": "bn", "inputs": [[place, 0] for place in range(5)]}]  # fmt: skip
    names = [f"{prefix}:{name}" for prefix in ("arg", "aux") for name in ("g", "mean")] + ["b", "arg:var"]
    bound = bind(complete(graph_of(nodes)), names).parameters
    assert bound == {1: "arg:g", 2: "b", 3: "aux:mean", 4: "arg:var"}
