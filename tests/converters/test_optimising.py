from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters import optimising
from converters.graph import open_session, runner
from converters.optimising import save_optimised


def chain(path: Path, kind: str, length: int) -> Path:
    """`length` nodes in a row, each adding a constant that is computed from two others."""
    nodes, weights = [], {}
    for place in range(length):
        weights |= {f"a{place}": np.float32(place), f"b{place}": np.float32(1)}
        nodes.append(helper.make_node(kind, [f"a{place}", f"b{place}"], [f"c{place}"]))
        nodes.append(helper.make_node("Add", [f"h{place}", f"c{place}"], [f"h{place + 1}"]))
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("h0", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info(f"h{length}", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_a_graph_that_loads_faster_is_kept_and_answers_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimising, "LEAST_GAIN_MS", 0.0)  # any gain will do: the clock of a test machine is rough
    monkeypatch.setattr(optimising, "LEAST_GAIN", 0.0)
    model = chain(tmp_path / "model.onnx", "Mul", 400)
    saved = save_optimised(model, tmp_path)
    assert saved == tmp_path / "model.cpu.onnx"
    assert len(onnx.load(saved).graph.node) == 400
    x = np.ones((3, 2), np.float32)
    assert np.array_equal(*(runner(open_session(each))({"h0": x})["h400"] for each in (model, saved)))


def test_a_graph_with_nothing_to_optimise_is_not_stored(linear_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert save_optimised(linear_onnx, tmp_path / "out") is None
    assert list((tmp_path / "out").iterdir()) == []


def test_a_small_gain_is_not_worth_a_second_copy(tmp_path: Path) -> None:
    model = chain(tmp_path / "model.onnx", "Mul", 2)
    assert save_optimised(model, tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_large_weights_lie_beside_the_optimised_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimising, "LARGEST_INLINE_BYTES", 1000)
    monkeypatch.setattr(optimising, "LEAST_GAIN_MS", -1e6)
    monkeypatch.setattr(optimising, "LEAST_GAIN", -1e6)
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["i"]), helper.make_node("MatMul", ["i", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), model)
    saved = save_optimised(model, tmp_path)
    assert saved is not None
    assert saved.stat().st_size < 4096 < (tmp_path / "model.cpu.onnx.data").stat().st_size
    x = np.ones((2, 64), np.float32)
    np.testing.assert_allclose(runner(open_session(saved))({"x": x})["y"], x @ weight, rtol=1e-4, atol=1e-4)


def test_a_model_that_does_not_load_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x09 not a model")
    assert save_optimised(tmp_path / "model.onnx", tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
