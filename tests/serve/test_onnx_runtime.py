"""The `onnx` runtime on real graphs: numbers, strings, refusals, threads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from model_store.errors import InvalidInput, ModelNotReady
from model_store.manifest import Manifest, TensorSpec
from serve.inference import InputsWithRoom
from serve.runtimes.base import RUNTIMES, load_runtime
from serve.runtimes.onnx import OnnxRuntime
from tests.serve.tiny_versions import manifest

ELEMENT_TYPES = {"FP32": TensorProto.FLOAT, "INT64": TensorProto.INT64, "BYTES": TensorProto.STRING}


def write_model(
    folder: Path, nodes: Sequence[Any], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> Manifest:
    def value(spec: TensorSpec) -> Any:
        shape = [None if size < 0 else size for size in spec.shape]
        return helper.make_tensor_value_info(spec.name, ELEMENT_TYPES[spec.datatype], shape)

    graph = helper.make_graph(nodes, "tiny", [value(spec) for spec in inputs], [value(spec) for spec in outputs])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "model.onnx")
    return manifest("tiny", 1, inputs, outputs)


def texts(*elements: str | bytes, shape: tuple[int, ...] | None = None) -> np.ndarray:
    tensor = np.empty(len(elements), object)
    tensor[:] = [each.encode() if isinstance(each, str) else each for each in elements]
    return tensor if shape is None else tensor.reshape(shape)


X, Y = TensorSpec("x", "FP32", (-1, 2)), TensorSpec("y", "FP32", (-1, 2))
S, T = TensorSpec("s", "BYTES", (-1, 2)), TensorSpec("t", "BYTES", (-1, 2))


@pytest.fixture
def adding(tmp_path: Path) -> OnnxRuntime:
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Neg", ["x"], ["n"])]
    described = write_model(tmp_path, nodes, [X], [Y, TensorSpec("n", "FP32", (-1, 2))])
    return OnnxRuntime(tmp_path, described, threads=1)


@pytest.fixture
def looking_up(tmp_path: Path) -> OnnxRuntime:
    """`y` is the n-th of two numbers; another n is refused by the graph alone."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [2], [0.5, 1.5])
    nodes = [
        helper.make_node("Constant", [], ["table"], value=table),
        helper.make_node("Gather", ["table", "n"], ["y"]),
    ]
    index, found = TensorSpec("n", "INT64", (-1,)), TensorSpec("y", "FP32", (-1,))
    return OnnxRuntime(tmp_path, write_model(tmp_path, nodes, [index], [found]), threads=1)


def test_all_outputs_come_in_the_signature_s_order(adding: OnnxRuntime) -> None:
    outputs = adding.run({"x": np.array([[1, 2], [3, 4]], np.float32)})
    assert list(outputs) == ["y", "n"]
    assert outputs["y"].tolist() == [[2, 4], [6, 8]]
    assert outputs["n"].tolist() == [[-1, -2], [-3, -4]]


def test_only_the_signature_s_outputs_come(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Neg", ["x"], ["n"])]
    outputs = [Y, TensorSpec("n", "FP32", (-1, 2))]
    write_model(tmp_path, nodes, [X], outputs)
    runtime = OnnxRuntime(tmp_path, manifest("tiny", 1, [X], [outputs[1]]), threads=1)
    assert list(runtime.run({"x": np.ones((1, 2), np.float32)})) == ["n"]


def test_no_rows_give_no_rows(adding: OnnxRuntime) -> None:
    assert adding.run({"x": np.zeros((0, 2), np.float32)})["y"].shape == (0, 2)


def test_a_view_into_a_body_at_an_odd_offset_is_computed_right(adding: OnnxRuntime) -> None:
    body = b"." + np.array([[1, 2], [3, 4]], np.float32).tobytes()
    tensor = np.frombuffer(memoryview(body)[1:], np.float32).reshape(2, 2)
    assert not tensor.flags.aligned
    assert adding.run({"x": tensor})["y"].tolist() == [[2, 4], [6, 8]]


# -- strings ---------------------------------------------------------------------------------------------------------


def test_text_goes_through_as_it_came_and_not_as_its_python_form(tmp_path: Path) -> None:
    described = write_model(tmp_path, [helper.make_node("Identity", ["s"], ["t"])], [S], [T])
    runtime = OnnxRuntime(tmp_path, described, threads=1)
    sent = texts("cat", "", "grün", "b'x'", shape=(2, 2))
    answer = runtime.run({"s": sent})["t"]
    assert answer.dtype == np.object_
    assert answer.tolist() == [[b"cat", b""], ["grün".encode(), b"b'x'"]]
    assert sent.tolist() == [[b"cat", b""], ["grün".encode(), b"b'x'"]]


def test_text_is_looked_up_by_its_own_value(tmp_path: Path) -> None:
    node = helper.make_node(
        "LabelEncoder", ["s"], ["n"], domain="ai.onnx.ml", keys_strings=["cat", "dog"], values_int64s=[7, 9]
    )
    numbers = TensorSpec("n", "INT64", (-1, 2))
    runtime = OnnxRuntime(tmp_path, write_model(tmp_path, [node], [S], [numbers]), threads=1)
    assert runtime.run({"s": texts("dog", "cat", shape=(1, 2))})["n"].tolist() == [[9, 7]]


def test_labels_come_out_as_bytes(tmp_path: Path) -> None:
    node = helper.make_node(
        "LabelEncoder", ["n"], ["t"], domain="ai.onnx.ml", keys_int64s=[7, 9], values_strings=["cat", "dög"]
    )
    numbers = TensorSpec("n", "INT64", (-1, 2))
    runtime = OnnxRuntime(tmp_path, write_model(tmp_path, [node], [numbers], [T]), threads=1)
    assert runtime.run({"n": np.array([[9, 7]])})["t"].tolist() == [["dög".encode(), b"cat"]]


def test_text_beside_numbers_leaves_the_numbers_alone(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["s"], ["t"]), helper.make_node("Add", ["x", "x"], ["y"])]
    runtime = OnnxRuntime(tmp_path, write_model(tmp_path, nodes, [X, S], [Y, T]), threads=1)
    outputs = runtime.run({"x": np.ones((1, 2), np.float32), "s": texts("a", "b", shape=(1, 2))})
    assert outputs["y"].tolist() == [[2, 2]]
    assert outputs["t"].tolist() == [[b"a", b"b"]]


def test_no_rows_of_text_give_no_rows(tmp_path: Path) -> None:
    described = write_model(tmp_path, [helper.make_node("Identity", ["s"], ["t"])], [S], [T])
    runtime = OnnxRuntime(tmp_path, described, threads=1)
    assert runtime.run({"s": np.empty((0, 2), object)})["t"].shape == (0, 2)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    described = write_model(tmp_path, [helper.make_node("Identity", ["s"], ["t"])], [S], [T])
    with pytest.raises(InvalidInput, match=r"^input 's': expected UTF-8 text, got bytes that are not: "):
        OnnxRuntime(tmp_path, described, threads=1).run({"s": texts("a", b"\xff", shape=(1, 2))})


# -- outputs where they are wanted -----------------------------------------------------------------------------------


class Place:
    """Memory that an output is wanted in, with other bytes before and behind it."""

    def __init__(self, size: int) -> None:
        self._all = np.full(64 + size + 64, 7, np.uint8)
        self.memory = self._all[64:-64].data

    def holds(self, tensor: np.ndarray) -> bool:
        """Whether a tensor lies at the begin of it."""
        return bool(tensor.ctypes.data == self._all.ctypes.data + 64)

    def written(self) -> int:
        """Bytes from the begin on that something was written to; what lies around must be as it was."""
        assert set(self._all[:64]) | set(self._all[-64:]) == {7}
        changed = np.flatnonzero(self._all[64:-64] != 7)
        return int(changed[-1]) + 1 if changed.size else 0


ROWS = np.array([[1, 2], [3, 4]], np.float32)


def test_an_output_is_written_where_there_is_room_for_it(adding: OnnxRuntime) -> None:
    place = Place(100)
    outputs = adding.run(InputsWithRoom({"x": ROWS}, {"y": place.memory}))
    assert (list(outputs), outputs["y"].tolist(), outputs["n"].tolist()) == (
        ["y", "n"], [[2, 4], [6, 8]], [[-1, -2], [-3, -4]],
    )  # fmt: skip
    assert (place.holds(outputs["y"]), place.holds(outputs["n"])) == (True, False)
    assert place.written() == 16


def test_batches_of_any_size_are_written_where_there_is_room(adding: OnnxRuntime) -> None:
    for rows in (1, 5, 2, 8):
        place = Place(8 * 8)
        x = np.full((rows, 2), rows, np.float32)
        outputs = adding.run(InputsWithRoom({"x": x}, {"y": place.memory}))
        assert (outputs["y"].tolist(), place.holds(outputs["y"])) == ([[2 * rows] * 2] * rows, True)
        assert place.written() == 8 * rows


@pytest.mark.parametrize("rows", [0, 3])
def test_an_output_that_is_empty_or_too_large_lies_elsewhere(adding: OnnxRuntime, rows: int) -> None:
    place = Place(16)
    outputs = adding.run(InputsWithRoom({"x": np.ones((rows, 2), np.float32)}, {"y": place.memory}))
    assert (outputs["y"].tolist(), place.written()) == ([[2, 2]] * rows, 0)


OTHER_SHAPES = {
    "more rows": (helper.make_node("Concat", ["x", "x"], ["y"], axis=0), [[1, 2], [3, 4], [1, 2], [3, 4]]),
    "fewer rows": (helper.make_node("Slice", ["x", "zero", "one"], ["y"]), [[1, 2]]),
}


@pytest.mark.parametrize(("node", "expected"), OTHER_SHAPES.values(), ids=OTHER_SHAPES.keys())
def test_an_output_of_another_shape_is_right_and_lies_elsewhere(
    tmp_path: Path, node: Any, expected: list[list[float]]
) -> None:
    numbers = [
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, TensorProto.INT64, [1], [value]))
        for name, value in (("zero", 0), ("one", 1))
    ]
    runtime = OnnxRuntime(tmp_path, write_model(tmp_path, [*numbers, node], [X], [Y]), threads=1)
    for _ in range(2):
        place = Place(100)
        outputs = runtime.run(InputsWithRoom({"x": ROWS}, {"y": place.memory}))
        assert (outputs["y"].tolist(), place.holds(outputs["y"])) == (expected, False)
    # Only once is it computed twice.
    assert not runtime._graphs["serving_default"]._keeps_shapes


def test_an_output_whose_columns_are_free_lies_elsewhere(tmp_path: Path) -> None:
    free = TensorSpec("y", "FP32", (-1, -1))
    described = write_model(tmp_path, [helper.make_node("Transpose", ["x"], ["y"])], [X], [free])
    runtime, place = OnnxRuntime(tmp_path, described, threads=1), Place(100)
    x = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    outputs = runtime.run(InputsWithRoom({"x": x}, {"y": place.memory}))
    assert (outputs["y"].tolist(), place.written()) == ([[1, 3, 5], [2, 4, 6]], 0)


def test_an_output_that_is_an_input_is_right_and_its_own(tmp_path: Path) -> None:
    described = write_model(tmp_path, [], [X], [X])
    runtime, place, x = OnnxRuntime(tmp_path, described, threads=1), Place(100), ROWS.copy()
    answer = runtime.run(InputsWithRoom({"x": x}, {"x": place.memory}))["x"]
    x[...] = 0
    assert answer.tolist() == ROWS.tolist()


def test_an_output_beside_it_that_is_an_input_is_its_own(tmp_path: Path) -> None:
    described = write_model(tmp_path, [helper.make_node("Add", ["x", "x"], ["y"])], [X], [Y, X])
    runtime, place, x = OnnxRuntime(tmp_path, described, threads=1), Place(100), ROWS.copy()
    answer = runtime.run(InputsWithRoom({"x": x}, {"y": place.memory}))
    x[...] = 0
    assert (answer["x"].tolist(), place.holds(answer["y"])) == (ROWS.tolist(), True)


def test_text_beside_an_output_that_is_wanted_somewhere_goes_through(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["s"], ["t"]), helper.make_node("Add", ["x", "x"], ["y"])]
    runtime = OnnxRuntime(tmp_path, write_model(tmp_path, nodes, [X, S], [Y, T]), threads=1)
    inputs = {"x": ROWS, "s": texts("a", "b", "c", "d", shape=(2, 2))}
    outputs = runtime.run(InputsWithRoom(inputs, {"y": Place(100).memory}))
    assert (outputs["y"].tolist(), outputs["t"].tolist()) == ([[2, 4], [6, 8]], [[b"a", b"b"], [b"c", b"d"]])


def test_text_is_bytes_beside_an_output_that_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["t"], to=TensorProto.STRING),
        helper.make_node("Add", ["x", "x"], ["y"]),
    ]
    runtime, place = OnnxRuntime(tmp_path, write_model(tmp_path, nodes, [X], [T, Y]), threads=1), Place(100)
    outputs = runtime.run(InputsWithRoom({"x": ROWS}, {"y": place.memory}))
    assert (outputs["t"].tolist(), place.holds(outputs["y"])) == ([[b"1", b"2"], [b"3", b"4"]], True)


def test_an_input_that_is_turned_is_computed_right_in_place(adding: OnnxRuntime) -> None:
    place = Place(100)
    outputs = adding.run(InputsWithRoom({"x": ROWS.T}, {"y": place.memory}))
    assert (outputs["y"].tolist(), place.holds(outputs["y"])) == ([[2, 6], [4, 8]], True)


def test_refused_values_do_not_end_writing_in_place(looking_up: OnnxRuntime) -> None:
    with pytest.raises(InvalidInput, match=r"^the model refuses these values: .*indices element out of data bounds"):
        looking_up.run(InputsWithRoom({"n": np.array([5])}, {"y": Place(100).memory}))
    place = Place(100)
    outputs = looking_up.run(InputsWithRoom({"n": np.array([1, 0])}, {"y": place.memory}))
    assert (outputs["y"].tolist(), place.holds(outputs["y"])) == ([1.5, 0.5], True)


# -- refusals and threads --------------------------------------------------------------------------------------------


def test_values_that_the_graph_refuses_are_invalid_input_in_one_line(looking_up: OnnxRuntime) -> None:
    assert looking_up.run({"n": np.array([1, 0])})["y"].tolist() == [1.5, 0.5]
    with pytest.raises(
        InvalidInput, match=r"^the model refuses these values: .*indices element out of data bounds"
    ) as e:
        looking_up.run({"n": np.array([5])})
    assert "\n" not in str(e.value)


def test_the_session_has_the_threads_that_it_was_given(tmp_path: Path) -> None:
    described = write_model(tmp_path, [helper.make_node("Add", ["x", "x"], ["y"])], [X], [Y])
    options = OnnxRuntime(tmp_path, described, threads=3)._graphs["serving_default"]._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)


def test_several_threads_may_run_at_once(adding: OnnxRuntime) -> None:
    def answer(number: int) -> float:
        return float(adding.run({"x": np.full((3, 2), number, np.float32)})["y"].max())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, range(40))) == [2 * number for number in range(40)]


def test_a_manifest_names_its_runtime(tmp_path: Path) -> None:
    described = write_model(tmp_path, [helper.make_node("Add", ["x", "x"], ["y"])], [X], [Y])
    row = {"x": np.ones((1, 2), np.float32)}
    assert load_runtime(tmp_path, described, threads=1).run(row)["y"].tolist() == [[2, 2]]
    unknown = msgspec.structs.replace(described, runtime="mxnet")
    known = ", ".join(sorted(RUNTIMES))
    with pytest.raises(ModelNotReady, match=rf"^version needs the runtime 'mxnet'; this release has: {known}$"):
        load_runtime(tmp_path, unknown, threads=1)
