from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from converters.base import ConversionOptions
from converters.graph import open_session, runner
from converters.onnx import references
from converters.onnx.converter import OnnxConverter
from converters.publish import Published
from model_store.errors import ConfigError, ConversionError, SourceError
from model_store.manifest import TensorSpec
from tests.sources.onnx_operators import int4_weight


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


def test_a_model_that_the_evaluator_gets_wrong_is_compared_with_onnx_runtime_and_the_report_says_so(
    linear_onnx: Path,
) -> None:
    """The second witness is asked when the first was not confirmed."""
    made = list(OnnxConverter().alternatives(linear_onnx, ConversionOptions(), linear_onnx.parent / "work"))
    assert [each.model for each in made] == [made[0].model] * 2
    assert made[0].reference_name == f"onnx reference evaluator {onnx.__version__}"
    assert made[1].reference_name == (
        f"onnxruntime {onnxruntime.__version__} without optimisation, "
        f"the onnx reference evaluator {onnx.__version__} does not confirm it"
    )


def test_a_slow_evaluator_is_not_waited_for(linear_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "EVALUATOR_BUDGET_S", 0.0)
    made = OnnxConverter().convert(linear_onnx, ConversionOptions(), linear_onnx.parent / "work")
    assert made.reference_name == f"onnxruntime {onnxruntime.__version__} without optimisation"


def test_two_models_in_a_folder_are_told(with_external_data: Path) -> None:
    (with_external_data / "other.onnx").write_bytes((with_external_data / "m.onnx").read_bytes())
    assert OnnxConverter().detects(with_external_data)
    with pytest.raises(SourceError, match=r"holds 2 ONNX models \(m\.onnx, other\.onnx\): give one file"):
        convert(with_external_data)


def test_external_data_that_is_cut_off_is_told(with_external_data: Path) -> None:
    (with_external_data / "weights.bin").write_bytes(bytes(8))
    with pytest.raises(SourceError, match=r"'weights\.bin' is cut off: expected at least 24 bytes, got 8"):
        convert(with_external_data)


def test_onnx_runtimes_own_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.ort").write_bytes(b"\x18\x00\x00\x00ORTM" + bytes(20))
    assert OnnxConverter().detects(tmp_path / "m.ort")
    with pytest.raises(SourceError, match=r"ONNX Runtime's own format \(\.ort\), .* give the \.onnx file"):
        convert(tmp_path / "m.ort")


@pytest.mark.parametrize(
    ("domain", "hint"),
    [
        ("ai.onnx.contrib", "these belong to onnxruntime-extensions"),
        ("com.microsoft.nchwc", "laid it out for one processor: give the original"),
        ("org.pytorch.aten", "export with dynamo=True"),
    ],
)
def test_known_foreign_operators_come_with_what_to_do(
    tmp_path: Path, onnx_model: Callable[..., Path], domain: str, hint: str
) -> None:
    nodes = [helper.make_node("Op", ["x"], ["y"], domain=domain)]
    model = onnx_model(tmp_path / "m.onnx", nodes, {"x": ["n"]}, {"y": (TensorProto.FLOAT, ["n"])})
    with pytest.raises(ConversionError, match=f"{domain}.Op; .*{hint}"):
        convert(model)


def test_foreign_operators_inside_of_a_branch_are_found(tmp_path: Path, onnx_model: Callable[..., Path]) -> None:
    inner = helper.make_graph(
        [helper.make_node("Fancy", ["x"], ["z"], domain="my.ops")],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n"])],
    )
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
    weights = {"c": np.array(True)}
    model = onnx_model(tmp_path / "m.onnx", nodes, {"x": ["n"]}, {"y": (TensorProto.FLOAT, ["n"])}, weights)
    with pytest.raises(ConversionError, match=r"my\.ops\.Fancy"):
        convert(model)


def test_batch_normalization_in_training_mode_is_refused(tmp_path: Path, onnx_model: Callable[..., Path]) -> None:
    nodes = [helper.make_node("BatchNormalization", ["x", *"sbmv"], ["y", "m2", "v2"], name="bn", training_mode=1)]
    weights = {name: np.ones(3, np.float32) for name in "sbmv"}
    model = onnx_model(tmp_path / "m.onnx", nodes, {"x": ["n", 3]}, {"y": (TensorProto.FLOAT, ["n", 3])}, weights)
    with pytest.raises(ConversionError, match=r"training mode \(BatchNormalization 'bn'\): export it for inference"):
        convert(model)


def test_dropout_of_old_that_was_not_set_to_test_is_refused(tmp_path: Path, onnx_model: Callable[..., Path]) -> None:
    nodes = [helper.make_node("Dropout", ["x"], ["y"], ratio=0.5)]
    path = onnx_model(tmp_path / "m.onnx", nodes, {"x": ["n", 3]}, {"y": (TensorProto.FLOAT, ["n", 3])})
    proto = onnx.load(path)
    proto.opset_import[0].version = 6
    onnx.save(proto, path)
    with pytest.raises(ConversionError, match=r"training mode \(Dropout 'y'\): export it for inference"):
        convert(path)


def test_an_operator_without_kernel_is_told_with_its_opset(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ImageDecoder", ["x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, ["h", "w", 3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), tmp_path / "m.onnx")
    with pytest.raises(ConversionError) as refusal:
        convert(tmp_path / "m.onnx")
    assert refusal.value.message == (
        "ONNX Runtime does not run the model as it is (opset 20: Could not find an implementation for "
        "ImageDecoder(20) node with name ''), and ONNX can't bring it to another opset: export it "
        "without that operator"
    )


def test_labels_of_a_zip_map_are_the_versions_classes(tmp_path: Path) -> None:
    """The dictionaries become columns, in the order of the labels."""
    graph = helper.make_graph(
        [helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_strings=["ant", "bee"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [
            helper.make_value_info(
                "y",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
                ),
            )
        ],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), tmp_path / "m.onnx")
    made = OnnxConverter().convert(tmp_path / "m.onnx", ConversionOptions(), tmp_path / "work")
    assert made.labels == ("ant", "bee")
    assert made.signature.outputs == (TensorSpec("y", "FP32", (-1, 2)),)
    x = np.array([[1, 2]], dtype=np.float32)
    assert made.reference({"x": x})["y"].tolist() == [[1, 2]]


def test_indexes_are_drawn_from_the_table_that_they_point_into(tmp_path: Path, onnx_model: Callable[..., Path]) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "ids"], ["y"]),
    ]
    weights = {"table": np.zeros((50, 4), np.float32)}
    path = onnx_model(tmp_path / "m.onnx", nodes, {"x": ["n", 3]}, {"y": (TensorProto.FLOAT, ["n", 3, 4])}, weights)
    proto = onnx.load(path)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32
    onnx.save(proto, path)
    made = OnnxConverter().convert(path, ConversionOptions(), tmp_path / "work")
    assert dict(made.ranges) == {"x": (0, 49)}


def test_an_input_without_shape_is_told_and_can_be_given_one(tmp_path: Path, onnx_model: Callable[..., Path]) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    path = onnx_model(tmp_path / "m.onnx", nodes, {"x": ["n", 2]}, {"y": (TensorProto.FLOAT, ["n", 2])})
    proto = onnx.load(path)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.ClearField("shape")
    onnx.save(proto, path)
    with pytest.raises(ConversionError, match="input 'x' declares no shape: say it with `inputs:`"):
        convert(path)
    options = ConversionOptions(inputs=(TensorSpec("x", "FP32", (-1, 2)),))
    made = OnnxConverter().convert(path, options, tmp_path / "declared")
    assert made.signature.inputs == (TensorSpec("x", "FP32", (-1, 2)),)
    assert made.signature.outputs == (TensorSpec("y", "FP32", (-1, 2)),)


def test_shapes_of_the_config_narrow_open_ones_and_contradict_none(linear_onnx: Path) -> None:
    options = ConversionOptions(inputs=(TensorSpec("x", "FP32", (2, 3)),))
    made = OnnxConverter().convert(linear_onnx, options, linear_onnx.parent / "work")
    assert made.signature.inputs == (TensorSpec("x", "FP32", (2, 3)),)
    wrong = ConversionOptions(inputs=(TensorSpec("x", "FP32", (-1, 4)),))
    with pytest.raises(ConfigError, match=r"'x' is FP32\[-1, 3\] in the model, and FP32\[-1, 4\] in the config"):
        OnnxConverter().convert(linear_onnx, wrong, linear_onnx.parent / "wrong")
    unknown = ConversionOptions(inputs=(TensorSpec("z", "FP32", (-1, 3)),))
    with pytest.raises(ConfigError, match="'z' is no input of the model, which has x"):
        OnnxConverter().convert(linear_onnx, unknown, linear_onnx.parent / "unknown")


@pytest.mark.parametrize("kind", [TensorProto.FLOAT8E4M3FN, TensorProto.INT4])
def test_types_that_no_client_sends_are_refused(tmp_path: Path, onnx_model: Callable[..., Path], kind: int) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=kind)]
    model = onnx_model(tmp_path / "m.onnx", nodes, {"x": ["n"]}, {"y": (kind, ["n"])})
    name = TensorProto.DataType.Name(kind).lower()
    with pytest.raises(ConversionError, match=f"output 'y' has the type {name}, which no client can send or read"):
        convert(model)


def test_weights_of_four_bits_are_multiplied_in_float32(tmp_path: Path) -> None:
    """ONNX Runtime would cut activations to int8 unless it is told otherwise."""
    built = int4_weight(tmp_path)
    answer = runner(open_session(built.source))(built.calls[0].inputs)["y"]
    np.testing.assert_allclose(answer, built.calls[0].outputs["y"], rtol=1e-5, atol=1e-6)
