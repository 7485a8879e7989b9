"""What a TensorFlow graph may not do without trust, wherever in a SavedModel it is hidden."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.base import ConversionOptions
from converters.tensorflow.converter import TensorFlowConverter
from converters.tensorflow.native import TensorFlowModel
from converters.tensorflow.vetting import REACHES_OUT, vet_graph, vet_meta_graph
from model_store.errors import ConversionError, SourceError, TrustRequired
from model_store.manifest import Signature, TensorSpec
from tests.sources import tensorflow_graphs as graphs
from tests.sources import tensorflow_keras as exports
from tests.sources import tensorflow_modules as modules
from tests.sources.tensorflow_modules import module, spec

pytestmark = pytest.mark.filterwarnings("ignore")


def program(folder: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())


def meta_graph(folder: Path) -> Any:
    return program(folder).meta_graphs[0]


def save(net: Any, folder: Path) -> Path:
    import tensorflow as tf

    tf.saved_model.save(net, str(folder), signatures=net.call)
    return folder


def convert(source: Path, workdir: Path, **options: Any) -> Any:
    return TensorFlowConverter().convert(source, ConversionOptions(**options), workdir)


def writing(target: Path) -> Any:
    """A net that writes `target` whenever it is called."""
    import tensorflow as tf

    @module(spec("x", None, 2))
    def net(_: Any, x: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file(str(target), "written")]):
            return {"y": tf.identity(x)}

    return net


def test_a_served_graph_that_writes_a_file_needs_trust(tmp_path: Path) -> None:
    target = tmp_path / "target"
    source = save(writing(target), tmp_path / "model")
    with pytest.raises(TrustRequired, match=r"'model': its graph holds WriteFile, which reach files.*`trust: true`"):
        convert(source, tmp_path)
    with pytest.raises(TrustRequired, match="holds WriteFile"):
        TensorFlowConverter().native(source, ConversionOptions(), tmp_path)
    assert not target.exists()


def test_a_native_version_is_vetted_again_when_it_is_loaded(tmp_path: Path) -> None:
    target = tmp_path / "target"
    save(writing(target), tmp_path / "version" / "saved_model")
    signature = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))
    with pytest.raises(TrustRequired, match="holds WriteFile"):
        TensorFlowModel(tmp_path / "version", {"serving_default": signature})
    trusted = TensorFlowModel(tmp_path / "version", {"serving_default": signature}, trusted=True)
    trusted.run({"x": np.ones((1, 2), np.float32)}, "serving_default")
    assert target.read_text() == "written"


@pytest.mark.parametrize("where", ["cond", "while", "nested call"])
def test_it_is_found_in_functions_of_any_depth(tmp_path: Path, where: str) -> None:
    import tensorflow as tf

    def read() -> Any:
        return tf.strings.length(tf.io.read_file("/etc/hostname"))

    @module(spec("n", dtype="int32"))
    def net(_: Any, n: Any) -> Any:
        if where == "cond":
            return {"y": tf.cond(n > 3, read, lambda: n)}
        if where == "while":
            return {"y": tf.while_loop(lambda i: i < n, lambda i: (i + read(),), (0,))[0]}
        return {"y": tf.function(tf.function(read))() + n}

    source = save(net, tmp_path / "model")
    with pytest.raises(TrustRequired, match="holds ReadFile"):
        vet_meta_graph(meta_graph(source), "model", trust=False)
    vet_meta_graph(meta_graph(source), "model", trust=True)


def test_an_initialiser_that_reaches_out_is_found(tmp_path: Path) -> None:
    """TensorFlow runs it while it loads; nobody calls it."""
    source = modules.vocabulary(tmp_path).source
    broken = program(source)
    graph = broken.meta_graphs[0].graph_def
    imports = [node for function in graph.library.function for node in function.node_def if "TableImport" in node.op]
    imports[0].op = "WriteFile"
    with pytest.raises(TrustRequired, match="holds WriteFile"):
        vet_meta_graph(broken.meta_graphs[0], "model", trust=False)


def test_a_restore_operator_that_writes_is_found(tmp_path: Path) -> None:
    source = modules.dense(tmp_path).source
    broken = meta_graph(source)
    assign = next(
        node
        for function in broken.graph_def.library.function
        for node in function.node_def
        if node.op == "AssignVariableOp" and "restore" in function.signature.name
    )
    assign.op = "WriteFile"
    with pytest.raises(TrustRequired, match="holds WriteFile"):
        vet_meta_graph(broken, "model", trust=False)


@pytest.mark.parametrize(
    "build", [modules.dense, modules.vocabulary_file, exports.cnn, graphs.simple_save, graphs.builder]
)
def test_the_saver_that_every_savedmodel_has_is_no_offence(tmp_path: Path, build: Callable[[Path], Any]) -> None:
    source = build(tmp_path).source
    operators = {node.op for node in meta_graph(source).graph_def.node}
    operators |= {node.op for each in meta_graph(source).graph_def.library.function for node in each.node_def}
    assert {"SaveV2", "RestoreV2"} <= operators
    vet_meta_graph(meta_graph(source), "model", trust=False)


@pytest.mark.parametrize("build", [modules.vocabulary_file, graphs.builder])
def test_a_vocabulary_that_is_no_asset_needs_trust(tmp_path: Path, build: Callable[[Path], Any]) -> None:
    """Its path is written in the graph and may be any file of the machine."""
    graph = meta_graph(build(tmp_path).source)
    del graph.asset_file_def[:]
    graph.collection_def.pop("saved_model_assets", None)
    with pytest.raises(TrustRequired, match="holds InitializeTableFromTextFileV2"):
        vet_meta_graph(graph, "model", trust=False)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd"])
def test_an_asset_outside_of_the_folder_is_refused_even_with_trust(tmp_path: Path, name: str) -> None:
    graph = meta_graph(modules.vocabulary_file(tmp_path).source)
    graph.asset_file_def[0].filename = name
    with pytest.raises(SourceError, match=f"its asset '{name}' leads out of the folder"):
        vet_meta_graph(graph, "model", trust=True)


def test_operators_that_tensorflow_does_not_have_are_named(tmp_path: Path) -> None:
    graph = meta_graph(modules.dense(tmp_path).source)
    for function in graph.graph_def.library.function:
        for node in function.node_def:
            if node.op == "Softmax":
                node.op = "MySoftmax"
    with pytest.raises(ConversionError, match=r"TensorFlow [\d.]+ has no operator MySoftmax; custom operators can't"):
        vet_meta_graph(graph, "model", trust=True)


def test_a_frozen_graph_is_vetted_by_what_its_outputs_need(tmp_path: Path) -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 2], name="x")
        tf.multiply(x, 2.0, name="y")
        tf.identity(tf.io.read_file("/etc/hostname"), name="z")
    graph_def = graph.as_graph_def()
    vet_graph(graph_def, ["y:0"], "graph.pb", trust=False)
    with pytest.raises(TrustRequired, match=r"'graph\.pb': its graph holds ReadFile"):
        vet_graph(graph_def, ["y:0", "z:0"], "graph.pb", trust=False)


def test_printing_to_a_file_needs_trust_and_to_the_log_does_not(tmp_path: Path) -> None:
    import tensorflow as tf

    for stream, allowed in (("file:///tmp/x", False), (None, True)):

        @module(spec("x", None, 2))
        def net(_: Any, x: Any, stream: Any = stream) -> Any:
            import sys

            tf.print(x, output_stream=stream or sys.stderr)
            return {"y": x * 2}

        shutil.rmtree(tmp_path / "model", ignore_errors=True)
        graph = meta_graph(save(net, tmp_path / "model"))
        if allowed:
            vet_meta_graph(graph, "model", trust=False)
        else:
            with pytest.raises(TrustRequired, match="holds PrintV2"):
                vet_meta_graph(graph, "model", trust=False)


REACHING = (
    "ReadFile WriteFile MatchingFiles PyFunc EagerPyFunc PyFuncStateless SaveV2 RestoreV2 MergeV2Checkpoints "
    "ShardedFilename TextLineDataset TFRecordDatasetV2 CSVDatasetV2 CacheDatasetV2 SnapshotDatasetV2 LoadDataset "
    "SaveDatasetV2 FixedLengthRecordDataset DatasetFromGraph RegisterDatasetV2 OneShotIterator LMDBReader SqlDataset "
    "WholeFileReaderV2 LoadAndRemapMatrix GenerateVocabRemapping DecodeProtoV2 FixedUnigramCandidateSampler "
    "CreateSummaryFileWriter WriteScalarSummary DebugIdentityV3 ImportEvent _Send _HostRecv RemoteCall "
    "CollectiveReduceV2 DataServiceDatasetV4 FileSystemSetConfiguration Abort"
)
STAYING = (
    "MatMul Conv2D StatefulPartitionedCall While If VarHandleOp ReadVariableOp ResourceGather HashTableV2 "
    "LookupTableFindV2 LookupTableImportV2 DecodeJpeg DecodeRaw ParseExampleV2 StringSplitV2 TensorListReserve "
    "RandomUniform Assert Print XlaCallModule Recip Reciprocal RFFT ResizeBilinear CudnnRNNV3 SparseToDense"
)


@pytest.mark.parametrize("name", REACHING.split())
def test_operators_that_reach_out_are_known(name: str) -> None:
    assert REACHES_OUT.search(name)


@pytest.mark.parametrize("name", STAYING.split())
def test_operators_of_ordinary_models_are_not_among_them(name: str) -> None:
    assert not REACHES_OUT.search(name)
