"""TensorFlow's native runtime: threads, batches, text, and the kinds of folders it opens."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from converters.base import ConversionOptions
from converters.tensorflow.converter import TensorFlowConverter
from converters.tensorflow.native import TensorFlowModel
from model_store.errors import SourceError
from tests.sources import tensorflow_graphs as graphs
from tests.sources import tensorflow_lite as lite
from tests.sources import tensorflow_modules as modules
from tests.sources.table import Built

pytestmark = pytest.mark.filterwarnings("ignore")


def load(built: Built, workdir: Path, threads: int = 1) -> TensorFlowModel:
    conversion = TensorFlowConverter().native(built.source, ConversionOptions(), workdir)
    entries = (conversion, *conversion.others)
    signatures = {each.signature_name: each.signature for each in entries}
    return TensorFlowModel(conversion.model.parent, signatures, threads=threads)


@pytest.mark.parametrize("build", [modules.dense, lite.without_signature, graphs.frozen_parts])
def test_it_answers_from_many_threads_at_once(build, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    built = build(tmp_path)
    model = load(built, tmp_path)

    def call(index: int) -> bool:
        recorded = built.calls[index % len(built.calls)]
        answer = model.run(recorded.inputs, recorded.signature)
        return all(np.allclose(answer[name], value, atol=1e-5) for name, value in recorded.outputs.items())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(200)))


def test_outputs_come_in_the_signature_s_order(tmp_path: Path) -> None:
    built = graphs.frozen_parts(tmp_path)
    assert list(load(built, tmp_path).run(built.calls[0].inputs, "serving_default")) == ["halves", "halves:1"]


def test_text_goes_in_and_comes_out_as_bytes(tmp_path: Path) -> None:
    built = modules.class_names(tmp_path)
    label = load(built, tmp_path).run({"x": np.zeros((2, 4), np.float32)}, "serving_default")["label"]
    assert label.tolist() == [b"cat", b"cat"]
    assert label.dtype == object
    built = modules.vocabulary_file((tmp_path / "more", (tmp_path / "more").mkdir())[0])
    words = np.array([b"red", "blau\u00e4".encode(), b"unheard-of"], dtype=object)
    answer = load(built, tmp_path / "more").run({"word": words}, "serving_default")
    assert answer["index"].tolist() == [0, 2, 3]


def test_tflite_is_resized_to_each_batch(tmp_path: Path) -> None:
    model = load(lite.without_signature(tmp_path), tmp_path)
    for batch in (1, 7, 2):
        assert model.run({"features": np.ones((batch, 4), np.float32)}, "serving_default")["scores"].shape == (batch, 3)


def test_what_tensorflow_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    built = graphs.frozen_parts(tmp_path)
    inputs = {"ids": np.full((1, 4), 99, np.int32), "weight": np.ones((1, 4), np.float32)}
    with pytest.raises(RuntimeError, match=r"^TensorFlow: indices\[0,0\] = 99 is not in \[0, 9\)[^\n]*$"):
        load(built, tmp_path).run(inputs, "serving_default")


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds none of saved_model/, frozen_graph\.pb, model\.tflite, model\.keras"):
        TensorFlowModel(tmp_path, {})
