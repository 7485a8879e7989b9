from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from converters.base import ConversionOptions
from converters.onnx.converter import OnnxConverter
from converters.publish import Published
from model_store.errors import ConversionError, SourceError


def convert(source: Path) -> Path:
    return OnnxConverter().convert(source, ConversionOptions(), source.parent / "work").model


@pytest.fixture
def with_external_data(linear_onnx: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    model = onnx.load(linear_onnx)
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    return folder


def test_the_reference_is_the_onnx_evaluator(linear_onnx: Path) -> None:
    made = OnnxConverter().convert(linear_onnx, ConversionOptions(), linear_onnx.parent / "work")
    assert made.reference_name == f"onnx reference evaluator {onnx.__version__}"
    answer = made.reference({"x": np.array([[1, 0, 1]], dtype=np.float32)})
    assert answer["y"].tolist() == [[6, 8]]


def test_a_folder_with_external_data_becomes_one_version(
    with_external_data: Path,
    publish: Callable[..., Published],
    answers: Callable[..., dict[str, np.ndarray]],
) -> None:
    published = publish(with_external_data)
    assert list(published.manifest.files) == ["model.onnx"]
    assert answers(published, {"x": np.array([[0, 1, 0]], dtype=np.float32)})["y"].tolist() == [[3, 4]]


def test_missing_external_data_is_told(with_external_data: Path) -> None:
    (with_external_data / "weights.bin").unlink()
    with pytest.raises(SourceError, match=r"external data 'weights\.bin' is missing; give the folder that holds"):
        convert(with_external_data / "m.onnx")


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret"])
def test_external_data_outside_of_the_folder_is_refused(with_external_data: Path, location: str) -> None:
    (with_external_data.parent / "secret").write_bytes(bytes(24))
    model = onnx.load(with_external_data / "m.onnx", load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    (with_external_data / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(SourceError, match="lies outside of the model's folder"):
        convert(with_external_data / "m.onnx")


def test_external_data_behind_a_link_is_refused(with_external_data: Path) -> None:
    (with_external_data.parent / "secret").write_bytes(bytes(24))
    (with_external_data / "weights.bin").unlink()
    (with_external_data / "weights.bin").symlink_to("../secret")
    with pytest.raises(SourceError, match="lies outside of the model's folder"):
        convert(with_external_data / "m.onnx")


def test_operators_of_custom_domains_are_named(tmp_path: Path, onnx_model: Callable[..., Path]) -> None:
    nodes = [helper.make_node("Fancy", ["x"], ["y"], domain="my.ops")]
    model = onnx_model(tmp_path / "m.onnx", nodes, {"x": ["n"]}, {"y": (TensorProto.FLOAT, ["n"])})
    with pytest.raises(ConversionError, match=r"custom domains, which ONNX Runtime does not have: my\.ops\.Fancy"):
        convert(model)


def test_an_invalid_graph_is_refused(tmp_path: Path, onnx_model: Callable[..., Path]) -> None:
    nodes = [helper.make_node("Relu", ["nowhere"], ["y"])]
    model = onnx_model(tmp_path / "m.onnx", nodes, {"x": ["n"]}, {"y": (TensorProto.FLOAT, ["n"])})
    with pytest.raises(SourceError, match=r"'m\.onnx' is not a valid ONNX model"):
        convert(model)


def test_an_operator_that_the_evaluator_lacks_is_compared_with_onnx_runtime(
    tmp_path: Path, onnx_model: Callable[..., Path]
) -> None:
    nodes = [helper.make_node("QuickGelu", ["x"], ["y"], domain="com.microsoft")]
    model = onnx_model(tmp_path / "m.onnx", nodes, {"x": ["n", 2]}, {"y": (TensorProto.FLOAT, ["n", 2])})
    made = OnnxConverter().convert(model, ConversionOptions(), tmp_path / "work")
    assert made.reference_name.startswith("onnxruntime ")
