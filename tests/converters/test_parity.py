from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from converters.base import Arrays, Conversion, ConversionOptions
from converters.candidates import runs_of
from converters.graph import open_session, read_signature, runner
from converters.parity import check_parity
from converters.samples import gate_batches, make_samples
from model_store.errors import ConfigError, ConversionError
from model_store.manifest import ParityReport, Signature, TensorSpec

WEIGHT = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)


def linear(arrays: Arrays) -> dict[str, np.ndarray]:
    return {"y": arrays["x"] @ WEIGHT}


def conversion(model: Path, reference: Callable[[Arrays], dict[str, np.ndarray]]) -> Conversion:
    return Conversion(model, read_signature(open_session(model)), reference, "numpy 2")


def gate(made: Conversion, **options: object) -> ParityReport:
    chosen = ConversionOptions(**options)  # type: ignore[arg-type]
    run = runs_of(made, trusted=False)[made.signature_name]
    return check_parity(made, run, chosen, make_samples(made, chosen))


def test_an_equal_model_passes_with_its_figures(linear_onnx: Path) -> None:
    report = gate(conversion(linear_onnx, linear), largest_batch=16)
    assert report.passed
    assert report.reason is None
    assert (report.batches, report.seeds, report.rtol) == ((1, 3, 16), (0, 1, 2), 1e-4)
    assert report.reference == "numpy 2"
    assert report.row_independent
    assert report.max_rel_error < 1e-6
    (output,) = report.outputs
    assert (output.name, output.class_agreement) == ("y", 1.0)
    assert output.scale > 1


def test_a_scaled_conversion_is_caught(linear_onnx: Path) -> None:
    report = gate(conversion(linear_onnx, lambda arrays: {"y": linear(arrays)["y"] * np.float32(1.001)}))
    assert not report.passed
    assert report.max_rel_error == pytest.approx(1e-3, rel=0.01)
    assert report.reason == ("output 'y' differs at batch 3, seed 1: error 0.001 of its scale 19.67, tolerance 0.0001")
    assert not report.row_independent


def test_a_looser_tolerance_lets_it_through(linear_onnx: Path) -> None:
    made = conversion(linear_onnx, lambda arrays: {"y": linear(arrays)["y"] * np.float32(1.001)})
    assert gate(made, rtol=2e-3).passed


def test_swapped_classes_are_caught(linear_onnx: Path) -> None:
    report = gate(conversion(linear_onnx, lambda arrays: {"y": linear(arrays)["y"][:, ::-1]}))
    assert not report.passed
    assert report.outputs[0].class_agreement is not None
    assert report.outputs[0].class_agreement < 0.5


@pytest.fixture
def leaking(tmp_path: Path, onnx_model: Callable[..., Path]) -> Path:
    """y = x - mean of x over the batch: no row is answered alone."""
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    outputs = {"y": (TensorProto.FLOAT, ["n", 3])}
    return onnx_model(tmp_path / "leak.onnx", nodes, {"x": ["n", 3]}, outputs, {"axes": np.array([0])})


def test_a_model_whose_rows_mix_as_in_the_source_passes_and_is_not_row_independent(leaking: Path) -> None:
    report = gate(conversion(leaking, lambda arrays: {"y": arrays["x"] - arrays["x"].mean(0, keepdims=True)}))
    assert report.passed
    assert not report.row_independent


def test_a_leak_that_the_source_does_not_have_is_caught(leaking: Path) -> None:
    report = gate(conversion(leaking, lambda arrays: {"y": arrays["x"] * 0}))
    assert not report.passed
    assert report.reason is not None
    assert "batch 1," not in report.reason


def test_a_row_that_leaks_into_its_neighbour_is_not_row_independent(
    tmp_path: Path, onnx_model: Callable[..., Path]
) -> None:
    nodes = [helper.make_node("CumSum", ["x", "axis"], ["y"])]
    outputs = {"y": (TensorProto.FLOAT, ["n", 3])}
    weights = {"axis": np.array(0, dtype=np.int64)}
    model = onnx_model(tmp_path / "sum.onnx", nodes, {"x": ["n", 3]}, outputs, weights)
    report = gate(conversion(model, lambda arrays: {"y": arrays["x"].cumsum(0)}))
    assert report.passed
    assert not report.row_independent


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_must_be_in_the_same_place(linear_onnx: Path, value: float) -> None:
    def reference(arrays: Arrays) -> dict[str, np.ndarray]:
        outputs = linear(arrays)
        outputs["y"][0, 1] = value
        return outputs

    report = gate(conversion(linear_onnx, reference))
    assert report.reason == "output 'y' differs at batch 1, seed 0: NaN or infinity in other places"


def test_equal_nans_pass(tmp_path: Path, onnx_model: Callable[..., Path]) -> None:
    nodes = [helper.make_node("Sqrt", ["x"], ["y"])]
    model = onnx_model(tmp_path / "sqrt.onnx", nodes, {"x": ["n", 4]}, {"y": (TensorProto.FLOAT, ["n", 4])})

    def root(arrays: Arrays) -> dict[str, np.ndarray]:
        with np.errstate(invalid="ignore"):
            return {"y": np.sqrt(arrays["x"])}

    report = gate(conversion(model, root))
    assert (report.passed, report.row_independent) == (True, True)


def test_integers_must_be_equal(tmp_path: Path, onnx_model: Callable[..., Path]) -> None:
    nodes = [helper.make_node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)]
    model = onnx_model(tmp_path / "best.onnx", nodes, {"x": ["n", 4]}, {"y": (TensorProto.INT64, ["n"])})
    assert gate(conversion(model, lambda arrays: {"y": arrays["x"].argmax(1)})).passed
    report = gate(conversion(model, lambda arrays: {"y": np.minimum(arrays["x"].argmax(1), 2)}))
    assert not report.passed
    assert report.reason is not None
    assert "such values must be equal" in report.reason


def test_another_shape_is_caught(linear_onnx: Path) -> None:
    report = gate(conversion(linear_onnx, lambda arrays: {"y": linear(arrays)["y"][:, :1]}))
    assert report.reason == ("output 'y' has shape [1, 2] at batch 1, seed 0; the source's framework gives [1, 1]")


def test_a_shape_that_the_signature_denies_is_caught(linear_onnx: Path) -> None:
    made = conversion(linear_onnx, linear)
    lying = replace(made, signature=Signature(made.signature.inputs, (TensorSpec("y", "FP32", (-1, 7)),)))
    reason = gate(lying).reason
    assert reason == "output 'y' has shape [1, 2] at batch 1, seed 0; the converted model declares [-1, 7]"


def test_a_fixed_batch_is_run_at_that_batch_only(tmp_path: Path, onnx_model: Callable[..., Path]) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    model = onnx_model(tmp_path / "f.onnx", nodes, {"x": [2, 3]}, {"y": (TensorProto.FLOAT, [2, 3])})
    report = gate(conversion(model, lambda arrays: {"y": np.maximum(arrays["x"], 0)}))
    assert (report.passed, report.batches, report.row_independent) == (True, (2,), False)


def test_an_output_without_a_batch_is_not_row_independent(tmp_path: Path, onnx_model: Callable[..., Path]) -> None:
    nodes = [helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)]
    model = onnx_model(tmp_path / "m.onnx", nodes, {"x": ["n", 3]}, {"y": (TensorProto.FLOAT, [])})
    report = gate(conversion(model, lambda arrays: {"y": arrays["x"].max()}))
    assert (report.passed, report.row_independent) == (True, False)


def test_a_model_frozen_at_one_inner_size_is_caught(tmp_path: Path, onnx_model: Callable[..., Path]) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "fifth"], ["scaled"]),
        helper.make_node("ReduceSum", ["scaled", "axes"], ["y"]),
    ]
    weights = {"fifth": np.array(0.2, dtype=np.float32), "axes": np.array([1])}
    outputs = {"y": (TensorProto.FLOAT, ["n", 1])}
    model = onnx_model(tmp_path / "mean.onnx", nodes, {"x": ["n", "length"]}, outputs, weights)
    report = gate(conversion(model, lambda arrays: {"y": arrays["x"].mean(1, keepdims=True)}))
    assert not report.passed
    assert report.reason is not None
    assert "seed 1" in report.reason


def test_examples_take_part(linear_onnx: Path, tmp_path: Path) -> None:
    """The conversion is wrong only where a real input lies."""

    def reference(arrays: Arrays) -> dict[str, np.ndarray]:
        outputs = linear(arrays)
        outputs["y"][arrays["x"][:, 0] == 1000] += 5
        return outputs

    np.savez(tmp_path / "real.npz", x=np.array([[1000, 0, 0]]))
    made = conversion(linear_onnx, reference)
    assert gate(made).passed
    assert not gate(made, examples=str(tmp_path / "real.npz")).passed


def test_examples_of_another_shape_are_refused(linear_onnx: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "real.npz", x=np.zeros((2, 4)))
    with pytest.raises(ConfigError, match=r"input 'x': expected FP32\[-1, 3\], got float64\[2, 4\]"):
        gate(conversion(linear_onnx, linear), examples=str(tmp_path / "real.npz"))


def test_examples_of_no_input_are_refused(linear_onnx: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "real.npz", z=np.zeros((2, 3)))
    with pytest.raises(ConfigError, match="holds z; the model's inputs are x"):
        gate(conversion(linear_onnx, linear), examples=str(tmp_path / "real.npz"))


def test_examples_that_are_no_arrays_are_refused(linear_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "real.npz").write_text("hello")
    with pytest.raises(ConfigError, match=r"is not an \.npz of plain arrays"):
        gate(conversion(linear_onnx, linear), examples=str(tmp_path / "real.npz"))


def test_a_reference_that_fails_is_named(linear_onnx: Path) -> None:
    def broken(arrays: Arrays) -> dict[str, np.ndarray]:
        raise RuntimeError("no such kernel\nlong story")

    with pytest.raises(ConversionError, match=r"numpy 2 fails at batch 1, seed 0: RuntimeError: no such kernel$"):
        gate(conversion(linear_onnx, broken))


def test_integers_stay_in_their_range(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Cast", ["words"], ["y"], to=TensorProto.FLOAT)],
        "graph",
        [helper.make_tensor_value_info("words", TensorProto.INT64, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")
    made = replace(conversion(tmp_path / "m.onnx", lambda arrays: {"y": arrays["words"]}), ranges={"words": (7, 9)})
    drawn = make_samples(made, ConversionOptions()).draw(50, 0)["words"]
    assert (drawn.min(), drawn.max(), drawn.dtype) == (7, 9, np.int64)
    assert gate(made).passed


def test_samples_repeat_for_the_same_seed(linear_onnx: Path) -> None:
    samples = make_samples(conversion(linear_onnx, linear), ConversionOptions())
    assert np.array_equal(samples.draw(3, 1)["x"], samples.draw(3, 1)["x"])
    assert not np.array_equal(samples.draw(3, 0)["x"], samples.draw(3, 1)["x"])


def test_strings_run_and_compare(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["b"])],
        "graph",
        [helper.make_tensor_value_info("a", TensorProto.STRING, ["n", 2])],
        [helper.make_tensor_value_info("b", TensorProto.STRING, ["n", 2])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")
    made = conversion(tmp_path / "m.onnx", lambda arrays: {"b": arrays["a"]})
    report = gate(made)
    assert (report.passed, report.row_independent) == (True, True)
    words = runner(open_session(made.model))({"a": np.array([[b"x", "é".encode()]], dtype=object)})
    assert words["b"].tolist() == [["x", "é"]]


def test_batches_hold_one_three_and_the_largest() -> None:
    dynamic = Signature((TensorSpec("x", "FP32", (-1, 3)),), ())
    assert gate_batches(dynamic, 2) == (1, 2, 3)
    assert gate_batches(dynamic, 64) == (1, 3, 64)
    assert gate_batches(Signature((TensorSpec("x", "FP32", (5, 3)),), ()), 64) == (5,)


@pytest.mark.parametrize(("asked", "expected"), [({}, 1e-2), ({"rtol": 1e-6}, 1e-6)])
def test_source_that_rounds_inside_has_the_bounds_of_its_precision_unless_the_config_says_others(
    linear_onnx: Path, asked: dict[str, float], expected: float
) -> None:
    report = gate(replace(conversion(linear_onnx, linear), precision="float16"), largest_batch=4, **asked)
    assert report.rtol == expected
