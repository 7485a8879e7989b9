from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.base import Arrays
from converters.batch import by_batches, free_batch, frozen_batch
from model_store.manifest import Signature, TensorSpec

Node = tuple[str, str, str, dict[str, object]]
"""Operator, inputs, outputs (`_` for one that is left out), attributes."""


def names(text: str) -> list[str]:
    return [name if name != "_" else "" for name in text.split()]


def save(
    path: Path,
    nodes: Sequence[Node],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 18,
) -> Path:
    graph = helper.make_graph(
        [helper.make_node(op, names(i), names(o), **attributes) for op, i, o, attributes in nodes],
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    # What shape inference left behind for the frozen batch must not hold the freed one back.
    graph.value_info.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, None))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


def run(model: Path, **inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(None, inputs)[0]
    return answer


def rows(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((count, *shape)).astype(np.float32)


def freed(model: Path, batch: int) -> Path:
    made = free_batch(model, batch, model.parent / "freed")
    assert made is not None
    for value in (*(proto := onnx.load(made)).graph.input, *proto.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    return made


def spec(*shapes: tuple[int, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(f"t{place}", "FP32", shape) for place, shape in enumerate(shapes))


@pytest.mark.parametrize(
    ("inputs", "outputs", "batch"),
    [
        ([(1, 3)], [(1, 2)], 1),
        ([(4, 3), (4,)], [(4, 2), (4, 5, 5)], 4),
        ([(-1, 3)], [(-1, 2)], None),
        ([(4, 3)], [(-1, 2)], None),
        ([(4, 3), (2, 4)], [(4, 2)], None),
        ([(4, 3), ()], [(4, 2)], None),
        ([(0, 3)], [(0, 3)], None),
        ([], [], None),
    ],
)
def test_the_frozen_batch_is_what_all_tensors_share(
    inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]], batch: int | None
) -> None:
    assert frozen_batch(Signature(spec(*inputs), spec(*outputs))) == batch


def test_rows_are_padded_with_the_last_one_and_split() -> None:
    seen: list[list[float]] = []

    def double(inputs: Arrays) -> dict[str, np.ndarray]:
        seen.append(inputs["x"].tolist())
        return {"y": inputs["x"] * 2}

    answer = by_batches(double, 2)({"x": np.array([1.0, 2.0, 3.0])})
    assert seen == [[1, 2], [3, 3]]
    assert answer["y"].tolist() == [2, 4, 6]


def test_no_rows_are_answered_with_none() -> None:
    answer = by_batches(lambda inputs: {"y": inputs["x"][:, :1]}, 2)({"x": np.zeros((0, 3), np.float32)})
    assert (answer["y"].shape, answer["y"].dtype) == ((0, 1), np.float32)


def test_text_is_padded_too() -> None:
    texts = np.array([b"a", b"b", b"c"], dtype=object)
    assert by_batches(dict, 2)({"t": texts})["t"].tolist() == [b"a", b"b", b"c"]


@pytest.mark.parametrize("target", [[1, 12], [1, -1], [-1, 12]])
def test_a_reshape_to_constants_follows_the_batch(tmp_path: Path, target: list[int]) -> None:
    nodes: list[Node] = [("Reshape", "x t", "y", {})]
    model = save(tmp_path / "m.onnx", nodes, {"x": [1, 3, 4]}, {"y": [1, 12]}, {"t": np.array(target)})
    x = rows(5, 3, 4)
    assert np.array_equal(run(freed(model, 1), x=x), x.reshape(5, 12))


def test_a_reshape_with_a_computed_target_keeps_the_other_dynamic_axis(tmp_path: Path) -> None:
    """The target is [2, time, 6], with time from the input: only its first number is frozen."""
    nodes: list[Node] = [
        ("Shape", "x", "s", {}),
        ("Gather", "s one", "time", {}),
        ("Concat", "two time six", "t", {"axis": 0}),
        ("Reshape", "x t", "y", {}),
    ]
    weights = {"one": np.array([1]), "two": np.array([2]), "six": np.array([6])}
    model = save(tmp_path / "m.onnx", nodes, {"x": [2, "time", 2, 3]}, {"y": [2, "time", 6]}, weights)
    x = rows(5, 7, 2, 3)
    assert np.array_equal(run(freed(model, 2), x=x), x.reshape(5, 7, 6))


def test_heads_merged_into_the_batch_come_out_of_it(tmp_path: Path) -> None:
    nodes: list[Node] = [
        ("Reshape", "x merged", "m", {}),
        ("Transpose", "m", "k", {"perm": [0, 2, 1]}),
        ("MatMul", "m k", "a", {}),
        ("Reshape", "a apart", "y", {}),
    ]
    weights = {"merged": np.array([4, 3, 2]), "apart": np.array([1, 4, 3, 3])}
    model = save(tmp_path / "m.onnx", nodes, {"x": [1, 4, 3, 2]}, {"y": [1, 4, 3, 3]}, weights)
    x = rows(5, 4, 3, 2)
    np.testing.assert_allclose(run(freed(model, 1), x=x), x @ x.transpose(0, 1, 3, 2), rtol=1e-5)


def test_time_first_attention_finds_the_batch_behind_the_time(tmp_path: Path) -> None:
    """[time, 1, 4] -> [time, 2, 2] could be the batch times heads, or the time times the batch: the rest decides."""
    nodes: list[Node] = [
        ("Transpose", "x", "t", {"perm": [1, 0, 2]}),
        ("Reshape", "t heads", "h", {}),
        ("Transpose", "h", "q", {"perm": [1, 0, 2]}),
        ("Transpose", "h", "k", {"perm": [1, 2, 0]}),
        ("MatMul", "q k", "a", {}),
        ("Reshape", "a apart", "y", {}),
    ]
    weights = {"heads": np.array([3, 2, 2]), "apart": np.array([1, 2, 3, 3])}
    model = save(tmp_path / "m.onnx", nodes, {"x": [1, 3, 4]}, {"y": [1, 2, 3, 3]}, weights)
    x = rows(5, 3, 4)
    heads = x.reshape(5, 3, 2, 2).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(run(freed(model, 1), x=x), heads @ heads.transpose(0, 1, 3, 2), rtol=1e-5)


def test_an_expand_and_a_slice_of_the_batch_are_freed(tmp_path: Path) -> None:
    nodes: list[Node] = [
        ("Slice", "x zero four zero", "s", {}),
        ("Expand", "s shape", "y", {}),
    ]
    weights = {"zero": np.array([0]), "four": np.array([4]), "shape": np.array([4, 3, 2])}
    model = save(tmp_path / "m.onnx", nodes, {"x": [4, 1, 2]}, {"y": [4, 3, 2]}, weights)
    x = rows(6, 1, 2)
    assert np.array_equal(run(freed(model, 4), x=x), np.broadcast_to(x, (6, 3, 2)))


def test_a_slice_with_attributes_is_freed(tmp_path: Path) -> None:
    nodes: list[Node] = [("Slice", "x", "y", {"starts": [0, 1], "ends": [2, 3], "axes": [0, 1]})]
    model = save(tmp_path / "m.onnx", nodes, {"x": [2, 4]}, {"y": [2, 2]}, opset=9)
    x = rows(5, 4)
    assert np.array_equal(run(freed(model, 2), x=x), x[:, 1:3])


def test_a_resize_to_constant_sizes_is_freed(tmp_path: Path) -> None:
    nodes: list[Node] = [("Resize", "x _ _ sizes", "y", {"mode": "nearest"})]
    weights = {"sizes": np.array([1, 1, 4, 4])}
    model = save(tmp_path / "m.onnx", nodes, {"x": [1, 1, 2, 2]}, {"y": [1, 1, 4, 4]}, weights)
    x = rows(3, 1, 2, 2)
    assert np.array_equal(run(freed(model, 1), x=x), x.repeat(2, 2).repeat(2, 3))


@pytest.mark.parametrize("batch", [1, 3])
def test_a_first_state_is_expanded(tmp_path: Path, batch: int) -> None:
    inner, across = rows(1, 3, 2), rows(1, 3, 3)
    nodes: list[Node] = [
        ("Transpose", "x", "t", {"perm": [1, 0, 2]}),
        ("RNN", "t w r _ _ first", "_ last", {"hidden_size": 3}),
        ("Squeeze", "last axes", "y", {}),
    ]
    weights = {"w": inner, "r": across, "first": np.zeros((1, batch, 3), np.float32), "axes": np.array([0])}
    model = save(tmp_path / "m.onnx", nodes, {"x": [batch, 4, 2]}, {"y": [batch, 3]}, weights)
    x = rows(5, 4, 2)
    state = np.zeros((5, 3), np.float32)
    for step in range(4):
        state = np.tanh(x[:, step] @ inner[0].T + state @ across[0].T)
    np.testing.assert_allclose(run(freed(model, batch), x=x), state, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2])
def test_masks_that_name_their_row_are_freed(tmp_path: Path, batch: int) -> None:
    """GatherND with [row, place] for each row and place, as attention masks are exported."""
    indexes = np.stack(np.meshgrid(np.arange(batch), np.arange(3), indexing="ij"), -1)[:, None]
    nodes: list[Node] = [("GatherND", "x i", "y", {})]
    model = save(tmp_path / "m.onnx", nodes, {"x": [batch, 3]}, {"y": [batch, 1, 3]}, {"i": indexes})
    x = rows(5, 3)
    assert np.array_equal(run(freed(model, batch), x=x), x[:, None])


@pytest.mark.parametrize("batch", [1, 2])
def test_indexes_into_flattened_rows_are_freed(tmp_path: Path, batch: int) -> None:
    indexes = np.arange(batch)[:, None] * 3 + np.array([2, 0])
    nodes: list[Node] = [("Reshape", "x flat", "f", {}), ("Gather", "f i", "y", {})]
    model = save(
        tmp_path / "m.onnx", nodes, {"x": [batch, 3]}, {"y": [batch, 2]}, {"flat": np.array([-1]), "i": indexes}
    )
    x = rows(5, 3)
    assert np.array_equal(run(freed(model, batch), x=x), x[:, [2, 0]])


@pytest.mark.parametrize("batch", [1, 2])
def test_row_numbers_in_computed_indexes_are_counted(tmp_path: Path, batch: int) -> None:
    """x[arange(2), wanted]: the token that counts, as classifiers on top of language models take it."""
    nodes: list[Node] = [
        ("ArgMin", "x", "wanted", {"axis": 1}),
        ("Concat", "numbers wanted", "i", {"axis": 1}),
        ("GatherND", "x i", "y", {}),
    ]
    weights = {"numbers": np.arange(batch)[:, None]}
    model = save(tmp_path / "m.onnx", nodes, {"x": [batch, 4]}, {"y": [batch]}, weights)
    x = rows(5, 4)
    assert np.array_equal(run(freed(model, batch), x=x), x.min(1))


def test_a_constant_of_equal_rows_becomes_one(tmp_path: Path) -> None:
    bias = np.tile(np.array([1, 2, 3], np.float32), (4, 1))
    model = save(tmp_path / "m.onnx", [("Add", "x b", "y", {})], {"x": [4, 3]}, {"y": [4, 3]}, {"b": bias})
    x = rows(6, 3)
    assert np.array_equal(run(freed(model, 4), x=x), x + bias[0])


BOUND: dict[str, tuple[list[Node], dict[str, np.ndarray]]] = {
    "rows-differ": ([("Add", "x b", "y", {})], {"b": np.arange(6, dtype=np.float32).reshape(2, 3)}),
    "rows-meet": (
        [("Transpose", "x", "t", {}), ("MatMul", "x t", "s", {}), ("MatMul", "s x", "y", {})],
        {},
    ),
    "rows-apart": (
        [("Split", "x", "a b", {"axis": 0, "num_outputs": 2}), ("Concat", "b a", "y", {"axis": 0})],
        {},
    ),
}


@pytest.mark.parametrize(("nodes", "weights"), BOUND.values(), ids=BOUND)
def test_what_belongs_to_one_batch_stays_there(
    tmp_path: Path, nodes: list[Node], weights: dict[str, np.ndarray]
) -> None:
    model = save(tmp_path / "m.onnx", nodes, {"x": [2, 3]}, {"y": [2, 3]}, weights)
    assert free_batch(model, 2, tmp_path / "freed") is None
    assert not (tmp_path / "freed").exists()


def test_rows_that_are_averaged_are_noticed_by_the_trial(tmp_path: Path) -> None:
    nodes: list[Node] = [("ReduceMean", "x axes", "m", {"keepdims": 1}), ("Sub", "x m", "y", {})]
    model = save(tmp_path / "m.onnx", nodes, {"x": [4, 3]}, {"y": [4, 3]}, {"axes": np.array([0])})
    assert free_batch(model, 4, tmp_path / "freed") is None


def test_an_axis_of_one_is_not_taken_for_the_batch(tmp_path: Path) -> None:
    """A channel of one stays a channel of one."""
    nodes: list[Node] = [("Reshape", "x t", "r", {}), ("Conv", "r k", "c", {}), ("Reshape", "c u", "y", {})]
    weights = {"t": np.array([1, 1, 2, 2]), "k": rows(1, 1, 2, 2), "u": np.array([1, 1])}
    model = save(tmp_path / "m.onnx", nodes, {"x": [1, 4]}, {"y": [1, 1]}, weights)
    x = rows(5, 4)
    np.testing.assert_allclose(run(freed(model, 1), x=x), x @ weights["k"].reshape(4, 1), rtol=1e-5)


def test_operators_without_an_onnx_definition_are_followed_by_what_onnx_runtime_knows(tmp_path: Path) -> None:
    nodes: list[Node] = [("QuickGelu", "x", "h", {"domain": "com.microsoft"}), ("Reshape", "h t", "y", {})]
    model = save(tmp_path / "m.onnx", nodes, {"x": [1, 2, 3]}, {"y": [1, 6]}, {"t": np.array([1, 6])})
    proto = onnx.load(model)
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(proto, model)
    x = rows(5, 2, 3)
    expected = (x / (1 + np.exp(-1.702 * x))).reshape(5, 6)
    np.testing.assert_allclose(run(freed(model, 1), x=x), expected, rtol=1e-4, atol=1e-6)


def test_what_froze_the_batch_inside_of_a_function_is_freed(tmp_path: Path) -> None:
    model = save(tmp_path / "m.onnx", [("Flat", "x", "y", {"domain": "my"})], {"x": [1, 2, 3]}, {"y": [1, 6]})
    proto = onnx.load(model)
    target = helper.make_node("Constant", [], ["t"], value=numpy_helper.from_array(np.array([1, 6])))
    body = [target, helper.make_node("Reshape", ["a", "t"], ["b"])]
    proto.functions.append(helper.make_function("my", "Flat", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))
    proto.opset_import.append(helper.make_opsetid("my", 1))
    onnx.save(proto, model)
    x = rows(5, 2, 3)
    assert np.array_equal(run(freed(model, 1), x=x), x.reshape(5, 6))


def test_a_branch_that_froze_the_batch_is_freed(tmp_path: Path) -> None:
    def branch(name: str, sign: str) -> onnx.GraphProto:
        nodes = [helper.make_node("Reshape", ["x", "t"], ["r"]), helper.make_node(sign, ["r"], [name])]
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 6])])

    nodes: list[Node] = [("If", "c", "y", {"then_branch": branch("a", "Neg"), "else_branch": branch("b", "Relu")})]
    weights = {"c": np.array(True), "t": np.array([1, 6])}
    model = save(tmp_path / "m.onnx", nodes, {"x": [1, 2, 3]}, {"y": [1, 6]}, weights)
    x = rows(5, 2, 3)
    assert np.array_equal(run(freed(model, 1), x=x), -x.reshape(5, 6))


def test_opset_7_is_freed_as_far_as_it_has_operators_for_it(tmp_path: Path) -> None:
    reshaped = save(
        tmp_path / "m.onnx",
        [("Reshape", "x t", "y", {})],
        {"x": [1, 2, 3]},
        {"y": [1, 6]},
        {"t": np.array([1, 6])},
        opset=7,
    )
    x = rows(5, 2, 3)
    assert np.array_equal(run(freed(reshaped, 1), x=x), x.reshape(5, 6))
    weights = {"token": rows(1, 1, 3)}
    nodes: list[Node] = [("Concat", "token x", "y", {"axis": 1})]
    joined = save(tmp_path / "n.onnx", nodes, {"x": [1, 2, 3]}, {"y": [1, 3, 3]}, weights, opset=7)
    assert free_batch(joined, 1, tmp_path / "not") is None


def test_a_reshape_that_moves_the_batch_of_one_becomes_a_transposition(tmp_path: Path) -> None:
    """tf2onnx writes Transpose(x, [1, 0, 2]) so for a batch of one; the recurrence tells that it was meant."""
    inner, across = rows(1, 3, 2), rows(1, 3, 3)
    nodes: list[Node] = [
        ("Reshape", "x moved", "t", {}),
        ("RNN", "t w r _ _ first", "_ last", {"hidden_size": 3}),
        ("Reshape", "last flat", "y", {}),
    ]
    weights = {"w": inner, "r": across, "first": np.zeros((1, 1, 3), np.float32)}
    weights |= {"moved": np.array([4, 1, 2]), "flat": np.array([1, 3])}
    model = save(tmp_path / "m.onnx", nodes, {"x": [1, 4, 2]}, {"y": [1, 3]}, weights)
    x = rows(5, 4, 2)
    state = np.zeros((5, 3), np.float32)
    for step in range(4):
        state = np.tanh(x[:, step] @ inner[0].T + state @ across[0].T)
    np.testing.assert_allclose(run(freed(model, 1), x=x), state, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_state_of_a_loop_that_meets_the_batch_late_is_expanded(tmp_path: Path, batch: int) -> None:
    """The state is multiplied and cut before it meets x, as a GRU's is."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "m"], ["p"]),
            helper.make_node("Slice", ["p", "zero", "three", "one"], ["s"]),
            helper.make_node("Add", ["s", "x"], ["next"]),
            helper.make_node("Identity", ["go_on"], ["still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [batch, 3]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [batch, 3]),
        ],
    )
    matrix = rows(3, 5)
    weights = {"m": matrix, "zero": np.array([0]), "three": np.array([3]), "one": np.array([1])}
    weights |= {"steps": np.array(2), "start": np.ones((batch, 3), np.float32)}
    nodes: list[Node] = [("Loop", "steps _ start", "y", {"body": body})]
    model = save(tmp_path / "m.onnx", nodes, {"x": [batch, 3]}, {"y": [batch, 3]}, weights)
    x = rows(5, 3)
    expected = ((np.ones((5, 3), np.float32) @ matrix)[:, :3] + x) @ matrix[:, :3] + x
    np.testing.assert_allclose(run(freed(model, batch), x=x), expected, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_frozen_addend_of_a_gemm_is_expanded(tmp_path: Path, batch: int) -> None:
    weights = {"w": rows(3, 2), "c": np.ones((batch, 2), np.float32)}
    model = save(tmp_path / "m.onnx", [("Gemm", "x w c", "y", {})], {"x": [batch, 3]}, {"y": [batch, 2]}, weights)
    x = rows(5, 3)
    np.testing.assert_allclose(run(freed(model, batch), x=x), x @ weights["w"] + 1, rtol=1e-5)
