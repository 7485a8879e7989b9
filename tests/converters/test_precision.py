from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from converters.base import Conversion, ConversionOptions
from converters.graph import open_session, read_signature, runner
from converters.onnx.converter import OnnxConverter
from converters.parity import check_parity
from converters.precision import TOLERANCES, Tolerance, reduce_precision
from converters.samples import make_samples
from model_store.errors import ConfigError, ConversionError
from model_store.manifest import ParityReport

MakeOnnx = Callable[..., Path]


def reduced(source: Path, precision: str, **options: str) -> Conversion:
    chosen = ConversionOptions(precision=precision, **options)
    conversion = OnnxConverter().convert(source, chosen, source.parent / "work")
    return reduce_precision(conversion, chosen, make_samples(conversion, chosen), source.parent / precision)


def gate(conversion: Conversion, precision: str) -> ParityReport:
    options = ConversionOptions(precision=precision)
    run = runner(open_session(conversion.model))
    return check_parity(conversion, run, options, make_samples(conversion, options))


def operators(model: Path) -> set[str]:
    return {node.op_type for node in onnx.load(model).graph.node}


@pytest.fixture
def perceptron(tmp_path: Path, onnx_model: MakeOnnx) -> Path:
    """Two layers of 64, and a Softmax over 4 classes."""
    generator = np.random.default_rng(0)
    weights = {
        "w": (generator.standard_normal((16, 64)) / 4).astype(np.float32),
        "v": (generator.standard_normal((64, 4)) / 8).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["s"]),
        helper.make_node("Softmax", ["s"], ["y"], axis=-1),
    ]
    return onnx_model(tmp_path / "m.onnx", nodes, {"x": ["n", 16]}, {"y": (TensorProto.FLOAT, ["n", 4])}, weights)


@pytest.fixture
def tree(tmp_path: Path, onnx_model: MakeOnnx) -> Path:
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[1.0, 2.0],
    )
    return onnx_model(tmp_path / "m.onnx", [node], {"x": ["n", 2]}, {"y": (TensorProto.FLOAT, ["n", 1])})


def calibration(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def test_narrower_precisions_are_given_more_room() -> None:
    assert TOLERANCES["float32"] == Tolerance(rtol=1e-4, class_agreement=None)
    assert TOLERANCES["float16"] == Tolerance(rtol=1e-2, class_agreement=0.99)
    assert TOLERANCES["int8"] == Tolerance(rtol=0.1, class_agreement=0.95)


def test_float16_halves_the_weights_and_keeps_the_public_types(perceptron: Path) -> None:
    made = reduced(perceptron, "float16")
    proto = onnx.load(made.model)
    assert {tensor.data_type for tensor in proto.graph.initializer} == {TensorProto.FLOAT16}
    assert [spec.datatype for spec in (*made.signature.inputs, *made.signature.outputs)] == ["FP32", "FP32"]
    assert proto.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    report = gate(made, "float16")
    assert report.passed, report.reason
    assert 1e-6 < report.max_rel_error < 1e-2


def test_dynamic_int8_quantises_products_and_passes_its_gate(perceptron: Path) -> None:
    made = reduced(perceptron, "int8")
    assert "MatMulInteger" in operators(made.model)
    report = gate(made, "int8")
    assert report.passed, report.reason
    assert report.max_rel_error > 1e-4


def test_declared_shapes_of_weights_do_not_hinder_int8(tmp_path: Path, onnx_model: MakeOnnx) -> None:
    """PyTorch's exporter declares them, and quantisation turns the weights of a Gemm over."""
    generator = np.random.default_rng(0)
    weights = {
        "w": (generator.standard_normal((32, 16)) / 4).astype(np.float32),
        "b": np.zeros(32, np.float32),
        "v": (generator.standard_normal((4, 32)) / 6).astype(np.float32),
        "c": np.zeros(4, np.float32),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "v", "c"], ["y"], transB=1),
    ]
    source = onnx_model(tmp_path / "m.onnx", nodes, {"x": ["n", 16]}, {"y": (TensorProto.FLOAT, ["n", 4])}, weights)
    model = onnx.load(source)
    for name, weight in weights.items():
        model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, weight.shape))
    onnx.save(model, source)
    options = ConversionOptions(precision="int8")
    run = runner(open_session(source))
    conversion = Conversion(source, read_signature(open_session(source)), run, "onnxruntime")
    small = reduce_precision(conversion, options, make_samples(conversion, options), tmp_path / "int8")
    assert gate(small, "int8").passed


def test_static_int8_fixes_ranges_from_the_calibration(perceptron: Path, tmp_path: Path) -> None:
    rows = np.random.default_rng(1).standard_normal((50, 16)).astype(np.float32)
    made = reduced(perceptron, "int8", calibration=calibration(tmp_path / "c.npz", x=rows))
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators(made.model)
    expected = made.reference({"x": rows})["y"]
    np.testing.assert_allclose(runner(open_session(made.model))({"x": rows})["y"], expected, atol=0.1)


def test_old_opsets_are_upgraded_before_they_are_quantised(perceptron: Path) -> None:
    proto = onnx.load(perceptron)
    proto.opset_import[0].version = 11
    onnx.save(proto, perceptron)
    assert "MatMulInteger" in operators(reduced(perceptron, "int8").model)


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("float16", "nothing in the model can be float16: it has no float32 weights outside of trees"),
        ("int8", "nothing in the model can be int8: products with constant matrices, convolutions"),
    ],
)
def test_trees_stay_as_they_are(tree: Path, precision: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        reduced(tree, precision)


def test_a_quantised_model_is_not_quantised_again(perceptron: Path, tmp_path: Path) -> None:
    once = reduced(perceptron, "int8").model
    (tmp_path / "again").mkdir()
    again = once.rename(tmp_path / "again" / "m.onnx")
    with pytest.raises(ConversionError, match=r"quantised already \(DynamicQuantizeLinear, MatMulInteger\)"):
        reduced(again, "int8")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros((4, 16))}, r"^calibration: .* holds z; the model's inputs are x"),
        ({"x": np.zeros((4, 5))}, r"^calibration: .*input 'x': expected FP32\[-1, 16\], got float64\[4, 5\]"),
    ],
)
def test_calibration_that_does_not_fit_is_told(
    perceptron: Path, tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        reduced(perceptron, "int8", calibration=calibration(tmp_path / "c.npz", **arrays))
