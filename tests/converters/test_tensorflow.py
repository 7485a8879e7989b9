"""TensorFlow's converter: what it tells of a source, how it names things, what it refuses and in which words."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.base import Conversion, ConversionOptions, detect
from converters.tensorflow.converter import TensorFlowConverter
from converters.tensorflow.native import TensorFlowModel
from converters.tensorflow.source import kind_of, saved_model_folder
from model_store.errors import ConfigError, ConversionError, SourceError, TrustRequired
from model_store.manifest import TensorSpec
from tests.sources import tensorflow_graphs as graphs
from tests.sources import tensorflow_keras as exports
from tests.sources import tensorflow_lite as lite
from tests.sources import tensorflow_modules as modules
from tests.sources.table import Built

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], Built]], Built]:
    """A source of the tables, written once."""
    made: dict[Any, Built] = {}

    def build(write: Callable[[Path], Built]) -> Built:
        if write not in made:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made[write] = write(tmp_path_factory.mktemp("source"))
        return made[write]

    return build


def convert(source: Path, workdir: Path, **options: Any) -> Conversion:
    workdir.mkdir(exist_ok=True)
    return TensorFlowConverter().convert(source, ConversionOptions(**options), workdir)


def native(source: Path, workdir: Path, **options: Any) -> Conversion:
    return TensorFlowConverter().native(source, ConversionOptions(**options), workdir)


# What a source is


def test_sources_are_told_by_their_content(built: Any, tmp_path: Path) -> None:
    assert kind_of(built(modules.dense).source) == "saved_model"
    assert kind_of(built(graphs.frozen_convolutions).source) == "graph"
    assert kind_of(built(lite.without_signature).source) == "tflite"
    renamed = tmp_path / "model.onnx"
    shutil.copyfile(built(graphs.frozen_convolutions).source, renamed)
    assert detect(renamed).framework == "tensorflow"


@pytest.mark.parametrize("head", [b"", b"\x0a", b"\x08\x08\x12\x07pytorch", b"\x0a\xff\xff\xff\xff", b"PK\x03\x04"])
def test_other_bytes_are_not_tensorflow_s(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "source").write_bytes(head)
    assert kind_of(tmp_path / "source") is None


def test_an_onnx_file_is_not_a_frozen_graph(linear_onnx: Path) -> None:
    assert kind_of(linear_onnx) is None


def test_a_folder_of_several_versions_asks_for_one(built: Any, tmp_path: Path) -> None:
    for version in ("3", "12"):
        shutil.copytree(built(modules.dense).source, tmp_path / "served" / version)
    with pytest.raises(SourceError, match=r"source 'served' holds the versions 3, 12; name the folder of one of them"):
        saved_model_folder(tmp_path / "served")
    shutil.rmtree(tmp_path / "served" / "3")
    assert saved_model_folder(tmp_path / "served").name == "12"


def test_a_program_without_its_folder_asks_for_it(built: Any) -> None:
    program = built(modules.dense).source / "saved_model.pb"
    assert detect(program).framework == "tensorflow"
    with pytest.raises(SourceError, match=r"'saved_model\.pb' is the program of a SavedModel, .*; give the folder"):
        saved_model_folder(program)


@pytest.mark.parametrize("cut", [0.5, 0.05])
def test_a_cut_off_program_is_told(built: Any, tmp_path: Path, cut: float) -> None:
    shutil.copytree(built(modules.dense).source, tmp_path / "model")
    program = tmp_path / "model" / "saved_model.pb"
    program.write_bytes(program.read_bytes()[: int(program.stat().st_size * cut)])
    with pytest.raises(SourceError, match=r"'model': saved_model\.pb is cut off or damaged"):
        convert(tmp_path / "model", tmp_path)


def test_missing_variables_are_told_in_one_line(built: Any, tmp_path: Path) -> None:
    shutil.copytree(built(modules.dense).source, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "variables")
    with pytest.raises(SourceError, match=r"^the SavedModel can't be loaded by TensorFlow [\d.]+: [^\n]+$"):
        convert(tmp_path / "model", tmp_path)


def test_a_cut_off_tflite_file_is_told(built: Any, tmp_path: Path) -> None:
    whole = built(lite.without_signature).source.read_bytes()
    (tmp_path / "m.tflite").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(SourceError, match=r"'m\.tflite'"):
        convert(tmp_path / "m.tflite", tmp_path)


# Signatures


def test_each_signature_is_an_entry_with_a_file_of_its_own(built: Any, tmp_path: Path) -> None:
    conversion = convert(built(modules.several_signatures).source, tmp_path)
    entries = (conversion, *conversion.others)
    assert [(each.signature_name, each.model.name) for each in entries] == [
        ("serving_default", "model.onnx"),
        ("distance", "distance.onnx"),
        ("embed", "embed.onnx"),
    ]
    assert {each.model.parent for each in entries} == {tmp_path / "onnx"}
    distance = conversion.others[0].signature
    assert distance.inputs == (TensorSpec("left", "FP32", (-1, 3)), TensorSpec("right", "FP32", (-1, 3)))
    assert distance.outputs == (TensorSpec("distance", "FP32", (-1,)),)


def test_without_a_default_the_first_signature_by_name_is_it(built: Any, tmp_path: Path) -> None:
    conversion = convert(built(modules.no_default).source, tmp_path)
    assert conversion.signature_name == "classify"
    assert [each.signature_name for each in conversion.others] == ["predict"]


def test_the_two_signatures_of_a_keras_export_share_a_file(built: Any, tmp_path: Path) -> None:
    conversion = convert(built(exports.cnn).source, tmp_path)
    assert conversion.model == conversion.others[0].model
    assert [path.name for path in (tmp_path / "onnx").iterdir()] == ["model.onnx"]


def test_signatures_that_differ_in_their_weights_alone_do_not(tmp_path: Path) -> None:
    import tensorflow as tf

    net = tf.Module()
    net.first, net.second = modules.weights(2, 2, seed=1), modules.weights(2, 2, seed=2)
    x = [modules.spec("x", None, 2)]
    signatures = {
        "first": tf.function(lambda x: {"y": x @ net.first}, input_signature=x),
        "second": tf.function(lambda x: {"y": x @ net.second}, input_signature=x),
        "third": tf.function(lambda x: {"y": x @ net.first}, input_signature=x),
    }
    tf.saved_model.save(net, str(tmp_path / "model"), signatures=signatures)
    conversion = convert(tmp_path / "model", tmp_path)
    assert [each.model.name for each in (conversion, *conversion.others)] == ["model.onnx", "second.onnx", "model.onnx"]


def test_a_native_version_has_the_names_and_shapes_of_the_onnx_one(built: Any, tmp_path: Path) -> None:
    source = built(modules.several_signatures).source
    onnx, own = convert(source, tmp_path), native(source, tmp_path)
    assert own.runtime == "tensorflow"
    assert own.model == tmp_path / "native" / "saved_model"
    assert [each.signature for each in (own, *own.others)] == [each.signature for each in (onnx, *onnx.others)]


def test_a_native_version_answers_by_signature(built: Any, tmp_path: Path) -> None:
    source = built(modules.several_signatures)
    conversion = native(source.source, tmp_path)
    entries = (conversion, *conversion.others)
    model = TensorFlowModel(conversion.model.parent, {each.signature_name: each.signature for each in entries})
    for call in source.calls:
        answer = model.run(call.inputs, call.signature)
        for name, expected in call.outputs.items():
            np.testing.assert_allclose(answer[name], expected, rtol=1e-6)


def test_a_model_without_signatures_is_told_what_to_do(tmp_path: Path) -> None:
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "model"))
    with pytest.raises(ConversionError, match=r"has no signature to call; save it with tf\.saved_model\.save"):
        convert(tmp_path / "model", tmp_path)


def test_outputs_are_in_natural_order(tmp_path: Path) -> None:
    import tensorflow as tf

    @modules.module(modules.spec("x", None, 2))
    def net(_: Any, x: Any) -> Any:
        return [x + index for index in range(11)]

    tf.saved_model.save(net, str(tmp_path / "model"), signatures=net.call)
    conversion = convert(tmp_path / "model", tmp_path)
    assert [spec.name for spec in conversion.signature.outputs] == [f"output_{index}" for index in range(11)]


# What the config says


def test_an_unknown_input_of_the_config_is_told(built: Any, tmp_path: Path) -> None:
    asked = (TensorSpec("y", "FP32", (-1, 4)),)
    with pytest.raises(ConfigError, match="inputs: 'y' is no input of the model, which has x"):
        convert(built(modules.dense).source, tmp_path, inputs=asked)
    with pytest.raises(ConfigError, match="inputs: 'x' is FP32 in the model, not INT64"):
        convert(built(modules.dense).source, tmp_path, inputs=(TensorSpec("x", "INT64", (-1, 4)),))
    with pytest.raises(ConfigError, match="inputs: 'y' is not in the graph, whose placeholders are image, keep"):
        convert(built(graphs.frozen_convolutions).source, tmp_path, inputs=asked)


def test_an_input_without_a_rank_asks_for_its_shape(built: Any, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"input 'x' .* has no rank; say its shape with `inputs:"):
        convert(built(graphs.frozen_without_shapes).source, tmp_path)


def test_a_frozen_graph_can_be_entered_behind_its_placeholder(built: Any, tmp_path: Path) -> None:
    source = built(graphs.frozen_function)
    names = [spec.name for spec in convert(source.source, tmp_path).signature.inputs]
    assert names == ["x"]
    conversion = convert(source.source, tmp_path / "inner", inputs=(TensorSpec("matmul", "FP32", (-1, 3)),))
    assert conversion.signature.inputs == (TensorSpec("matmul", "FP32", (-1, 3)),)


# Domains


def test_rows_of_an_embedding_bound_its_indexes(built: Any, tmp_path: Path) -> None:
    conversion = convert(built(graphs.frozen_parts).source, tmp_path)
    assert conversion.ranges == {"ids": (0, 8)}
    assert convert(built(lite.embedding).source, tmp_path / "lite").ranges == {"ids": (0, 14)}


def test_words_of_a_table_are_what_text_is_drawn_from(built: Any, tmp_path: Path) -> None:
    conversion = convert(built(modules.vocabulary).source, tmp_path)
    assert sorted(conversion.choices["word"]) == [b"blue", b"green", b"red", b"unheard-of"]


def test_integers_of_unknown_meaning_are_tried_negative(built: Any, tmp_path: Path) -> None:
    conversion = convert(built(modules.types).source, tmp_path)
    assert conversion.ranges == {"count": (-100, 100)}


def test_serialised_examples_are_made_to_fit_their_parser(built: Any, tmp_path: Path) -> None:
    conversion = native(built(graphs.parse_example).source, tmp_path)
    answer = conversion.reference({"examples": conversion.choices["examples"][:3]})
    assert answer["scores"].shape == (3, 2)


def test_a_shape_of_the_config_is_for_the_signature_that_has_the_input(built: Any, tmp_path: Path) -> None:
    asked = (TensorSpec("left", "FP32", (8, 3)),)
    conversion = convert(built(modules.several_signatures).source, tmp_path, inputs=asked)
    assert conversion.signature.inputs == (TensorSpec("x", "FP32", (-1, 4)),)
    assert conversion.others[0].signature.inputs[0] == TensorSpec("left", "FP32", (8, 3))


# What ONNX can't keep


def test_a_graph_that_counts_its_calls_is_no_onnx(tmp_path: Path) -> None:
    import tensorflow as tf

    @modules.module(modules.spec("x", None, 2), count=tf.Variable(0.0))
    def net(self: Any, x: Any) -> Any:
        return {"y": x + 0.0 * self.count.assign_add(1.0)}

    tf.saved_model.save(net, str(tmp_path / "model"), signatures=net.call)
    with pytest.raises(ConversionError, match=r"'serving_default' changes its own state \(AssignAddVariableOp\)"):
        convert(tmp_path / "model", tmp_path)


def test_an_input_that_nothing_uses_is_kept(tmp_path: Path) -> None:
    import tensorflow as tf

    @modules.module(modules.spec("x", None, 2), modules.spec("extra", None, 3, dtype="int32"))
    def net(_: Any, x: Any, extra: Any) -> Any:
        return {"y": x * 2}

    tf.saved_model.save(net, str(tmp_path / "model"), signatures=net.call)
    inputs = convert(tmp_path / "model", tmp_path).signature.inputs
    assert inputs == (TensorSpec("extra", "INT32", (-1, 3)), TensorSpec("x", "FP32", (-1, 2)))


# Errors of the exporter


def test_what_tf2onnx_leaves_over_is_counted(built: Any, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"tf2onnx leaves operators of TensorFlow in the graph: [^\n]*") as error:
        convert(built(modules.split_text).source, tmp_path)
    assert {"StringSplitV2", "StringToHashBucketFast"} & set(error.value.details["operators"])


def test_text_case_is_refused_rather_than_left_to_a_locale(built: Any, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="ONNX has no StringLower that is equal beyond ASCII"):
        convert(built(modules.lowered_text).source, tmp_path)


def test_equal_names_of_an_input_and_an_output_are_told(tmp_path: Path) -> None:
    import tensorflow as tf

    @modules.module(modules.spec("x", None, 2))
    def net(_: Any, x: Any) -> Any:
        return {"x": x * 2}

    tf.saved_model.save(net, str(tmp_path / "model"), signatures=net.call)
    with pytest.raises(ConversionError, match="ONNX can't have an input and an output of the same name 'x'"):
        convert(tmp_path / "model", tmp_path)
    assert native(tmp_path / "model", tmp_path).signature.outputs == (TensorSpec("x", "FP32", (-1, 2)),)


# Published, through the sandbox


def test_signatures_and_their_graphs_are_in_the_manifest(built: Any, publish: Callable[..., Any]) -> None:
    manifest = publish(built(modules.several_signatures).source, largest_batch=4).manifest
    assert manifest.runtime == "onnx"
    assert manifest.default_signature == "serving_default"
    assert manifest.graphs == {"serving_default": "model.onnx", "distance": "distance.onnx", "embed": "embed.onnx"}
    assert {output.signature for output in manifest.parity.outputs} == set(manifest.graphs)
    assert set(manifest.libraries) >= {"tensorflow", "tf2onnx"}


def test_a_native_version_is_published_whole(
    built: Any, publish: Callable[..., Any], store: Any, tmp_path: Path
) -> None:
    source = built(modules.lowered_text)
    manifest = publish(source.source, largest_batch=4).manifest
    assert manifest.runtime == "tensorflow"
    assert "StringLower" in manifest.reason
    folder = store.checkout(manifest, tmp_path / "checkout")
    model = TensorFlowModel(folder, manifest.signatures)
    for call in source.calls:
        np.testing.assert_allclose(model.run(call.inputs, "serving_default")["vector"], call.outputs["vector"])


def test_a_served_graph_that_reads_files_is_refused_through_the_sandbox(
    built: Any, publish: Callable[..., Any]
) -> None:
    with pytest.raises(TrustRequired, match="holds ReadFile"):
        publish(built(modules.reads_a_file).source)
