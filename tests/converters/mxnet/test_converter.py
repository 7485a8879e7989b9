"""The converter as a user meets it: which files it takes, what it asks for, what it says when it can't."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from converters.base import Conversion, ConversionOptions, detect
from converters.mxnet.converter import MXNetConverter
from model_store.errors import ConfigError, ConversionError, SourceError
from model_store.manifest import Signature, TensorSpec
from tests.sources.mxnet_writing import Net, perceptron, write_params

DATA = TensorSpec("data", "FP32", (-1, 8))


def convert(source: Path, *inputs: TensorSpec) -> Conversion:
    return MXNetConverter().convert(source, ConversionOptions(inputs=inputs or None), source.parent / "work")


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return perceptron(tmp_path, "mlp")


def test_either_file_and_their_folder_are_the_same_model(params: Path) -> None:
    for source in (params, params.with_name("mlp-symbol.json"), params.parent):
        assert detect(source).framework == "mxnet"
        conversion = convert(source, DATA)
        assert conversion.signature == Signature((DATA,), (TensorSpec("softmax_output", "FP32", (-1, 3)),))


def test_folder_with_names_of_its_own_is_told_by_content(params: Path) -> None:
    params.with_name("mlp-symbol.json").rename(params.parent / "graph.json")
    params.rename(params.parent / "weights.bin")
    assert detect(params.parent).framework == "mxnet"
    assert convert(params.parent, DATA).signature.inputs == (DATA,)


def test_graph_takes_the_parameters_of_the_highest_epoch(params: Path) -> None:
    write_params(params.with_name("mlp-0007.params"), {"arg:fc1_weight": np.zeros((1, 1), np.float32)})
    with pytest.raises(SourceError, match=r"the graph reads fc1_bias, fc2_weight, fc2_bias, which the parameters lack"):
        convert(params.with_name("mlp-symbol.json"), DATA)
    assert convert(params, DATA).signature.inputs == (DATA,)


def test_two_graphs_in_a_folder_are_refused_by_name(params: Path) -> None:
    perceptron(params.parent, "other")
    with pytest.raises(SourceError, match=r"holds mlp-symbol\.json, other-symbol\.json; expected one graph"):
        convert(params.parent, DATA)


def test_answers_and_the_second_opinion_agree(params: Path) -> None:
    conversion = convert(params, DATA)
    x = np.random.default_rng(0).standard_normal((5, 8), dtype=np.float32)
    session = onnxruntime.InferenceSession(str(conversion.model), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"data": x})
    np.testing.assert_allclose(got, conversion.reference({"data": x})["softmax_output"], atol=1e-6)
    assert conversion.reference_name == "MXNet's operators in numpy"


def test_weights_are_initialisers_and_no_inputs(params: Path) -> None:
    graph = onnx.load(convert(params, DATA).model).graph
    assert [value.name for value in graph.input] == ["data"]
    assert len(graph.initializer) >= 4


def test_undeclared_input_is_asked_for_with_what_the_first_layer_tells(params: Path) -> None:
    with pytest.raises(ConfigError, match=r"\{name: data, datatype: FP32, shape: \[-1, 8\]\}"):
        convert(params)


def test_first_convolution_tells_the_channels(tmp_path: Path) -> None:
    net = Net()
    x = net.op("_mul_scalar", "scaled", net.variable("data"), scalar=0.5)
    params = net.save(tmp_path, "conv", net.convolution(x, "conv0", (3, 4), 3))
    with pytest.raises(ConfigError, match=r"shape: \[-1, 3, H, W\]"):
        convert(params)


def test_hints_of_the_file_stand_for_a_declaration(tmp_path: Path) -> None:
    net = Net()
    x = net.dense(net.variable("data", __shape__="(0, 8)", __dtype__="0"), "fc", 8, 2)
    assert convert(net.save(tmp_path, "hinted", x)).signature.inputs == (DATA,)


def test_declared_name_that_is_no_free_variable_is_refused_with_those_that_are(params: Path) -> None:
    with pytest.raises(ConfigError, match="no free variable 'image'; it has data"):
        convert(params, TensorSpec("image", "FP32", (-1, 8)))


def test_shape_that_does_not_fit_names_the_node(params: Path) -> None:
    with pytest.raises(ConversionError, match=r"MXNet operator FullyConnected \(node 'fc1_fwd'\): .*\(16, 7\)"):
        convert(params, TensorSpec("data", "FP32", (-1, 7)))


def test_all_unknown_operators_are_listed_at_once_with_their_nodes(tmp_path: Path) -> None:
    net = Net()
    x = net.op("_contrib_Mystery", "a", net.variable("data"))
    params = net.save(tmp_path, "odd", net.op("_sg_mkldnn_conv", "c", net.op("_contrib_Mystery", "b", x)))
    with pytest.raises(ConversionError) as error:
        convert(params, DATA)
    assert error.value.message == (
        "no translation for 2 of the model's MXNet operators: _contrib_Mystery (a, b); _sg_mkldnn_conv (c, written by "
        "a backend's optimiser: export the model without it (MXNET_SUBGRAPH_BACKEND=NONE))"
    )


@pytest.mark.parametrize(
    ("op", "advice"),
    [
        ("Custom", "whose Python code is not in the file"),
        ("_contrib_MultiBoxTarget", "export the net with MultiBoxDetection"),
        ("_contrib_bipartite_matching", "export the detections"),
        ("_contrib_RROIAlign", "whose rotated regions ONNX does not have"),
    ],
)
def test_operator_without_a_translation_says_why_where_there_is_a_reason(op: str, advice: str, tmp_path: Path) -> None:
    net = Net()
    with pytest.raises(ConversionError, match=rf"MXNet operators: {op} \(odd, .*{advice}"):
        convert(net.save(tmp_path, "odd", net.op(op, "odd", net.variable("data"))), DATA)


@pytest.mark.parametrize(
    ("op", "attrs", "precision"),
    [
        ("relu", {}, "float32"),
        ("Cast", {"dtype": "float32"}, "float32"),
        ("Cast", {"dtype": "float16"}, "float16"),
        ("_contrib_quantize_v2", {"min_calib_range": "-1", "max_calib_range": "1"}, "float16"),
    ],
)
def test_model_that_rounds_inside_says_so(op: str, attrs: dict[str, str], precision: str, tmp_path: Path) -> None:
    net = Net()
    assert (
        convert(net.save(tmp_path, "net", net.op(op, "op", net.variable("data"), **attrs)), DATA).precision == precision
    )


def test_structural_names_are_explained(params: Path) -> None:
    write_params(params, {"features.0.weight": np.ones((2, 2), np.float32)})
    with pytest.raises(SourceError, match=r"Gluon's `save_parameters`.*net\.export\(PREFIX\)"):
        convert(params, DATA)


def test_names_that_clash_with_the_graphs_own_are_harmless(tmp_path: Path) -> None:
    net = Net()
    x = net.dense(net.variable("%1"), "%1", 8, 2)
    conversion = convert(net.save(tmp_path, "clash", net.relu(x, "%1")), TensorSpec("%1", "FP32", (-1, 8)))
    session = onnxruntime.InferenceSession(str(conversion.model), providers=["CPUExecutionProvider"])
    assert [arg.name for arg in (*session.get_inputs(), *session.get_outputs())] == ["%1", "%1_output"]


def test_one_value_given_out_twice_has_two_names(tmp_path: Path) -> None:
    net = Net()
    x = net.relu(net.variable("data"), "relu")
    conversion = convert(net.save(tmp_path, "twice", x, x), DATA)
    assert [spec.name for spec in conversion.signature.outputs] == ["relu_output", "relu_output_"]


def test_graph_that_is_no_json_is_refused(params: Path) -> None:
    params.with_name("mlp-symbol.json").write_text(json.dumps({"nodes": []})[:-3])
    with pytest.raises(SourceError, match=r"is no symbol\.json of MXNet"):
        convert(params, DATA)
