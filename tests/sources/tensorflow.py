"""TensorFlow sources: SavedModels of both generations, frozen graphs, TFLite files.

The models are in `tensorflow_modules.py`, `tensorflow_keras.py`, `tensorflow_graphs.py` and `tensorflow_lite.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_store.manifest import TensorSpec
from tests.sources import tensorflow_graphs as graphs
from tests.sources import tensorflow_keras as exports
from tests.sources import tensorflow_lite as lite
from tests.sources import tensorflow_modules as modules
from tests.sources.table import Built, SourceCase

KINDS = {
    "saved": "SavedModel",
    "export": "SavedModel exported by Keras 3",
    "one": "SavedModel of TensorFlow 1",
    "frozen": "Frozen graph (.pb)",
    "lite": "TFLite (.tflite)",
}


def case(kind: str, name: str, build: Callable[[Path], Built], **fields: Any) -> SourceCase:
    return SourceCase(f"tensorflow-{kind}-{name}", "tensorflow", KINDS[kind], build, **fields)


SAVED = [
    case("saved", "dense", modules.dense),
    case("saved", "jit-compile", modules.compiled),
    case("saved", "several-signatures", modules.several_signatures),
    case("saved", "no-default-signature", modules.no_default),
    case("saved", "free-height-and-width", modules.any_size),
    case("saved", "uint8-preprocessing", modules.preprocessing),
    case("saved", "vocabulary", modules.vocabulary),
    case("saved", "vocabulary-asset", modules.vocabulary_file),
    case("saved", "class-names", modules.class_names),
    case("saved", "buckets-and-ids", modules.buckets),
    case("saved", "while-loop", modules.loop),
    case("saved", "cond", modules.condition),
    case("saved", "map-fn", modules.mapped),
    case("saved", "types", modules.types),
    case("saved", "fixed-batch", modules.fixed_batch),
    case("saved", "detection-head", modules.detection),
    case("saved", "spectrogram", modules.spectrogram),
    case("saved", "non-maximum-suppression", modules.suppression),
    case("saved", "image-operators", modules.image_operators),
    case("saved", "masked-attention", modules.masked_attention),
    case("saved", "float16", modules.half_precision, rtol=4e-3),  # 4 units in the last place
    case("saved", "unused-input-and-filled-table", modules.unused_input),
    case("saved", "scales-and-weekdays", modules.scales),
    case("saved", "numbered-folder", modules.numbered_folder),
    case("saved", "basic-pitch", modules.pitch_detector, options={"largest_batch": 3}),
    case(
        "saved",
        "lowered-text",
        modules.lowered_text,
        expect="native",
        remark="text operators whose rules beyond ASCII ONNX does not have; change the text before the request",
        reason="StringLower",
    ),
    case(
        "saved",
        "split-text",
        modules.split_text,
        expect="native",
        remark="splitting and hashing of text have no ONNX operator; do it before the request",
        reason="String(Split|ToHash)",
    ),
    case(
        "saved",
        "py-function",
        modules.python_function,
        expect="refused",
        remark="calls Python code that is not in the SavedModel; write it with TensorFlow's operators",
        reason="holds PyFunc",
    ),
    case(
        "saved",
        "reads-a-file",
        modules.reads_a_file,
        expect="refused",
        remark="the graph reaches files; export without, or say `trust: true`",
        reason=r"holds ReadFile, .* `trust: true`",
    ),
    case(
        "saved",
        "ragged-input",
        modules.ragged,
        expect="refused",
        remark="ragged and sparse inputs have no place in the protocols; take dense tensors",
        reason="takes a ragged",
    ),
]
EXPORTED = [
    case("export", "cnn", exports.cnn),
    case("export", "lstm-gru-bidirectional", exports.recurrent),
    case("export", "masked-lstm", exports.masked),
    case("export", "transformer", exports.transformer),
    case("export", "tabular-preprocessing", exports.tabular),
    case("export", "segmentation", exports.segmentation),
    case("export", "dilated-series", exports.series),
]
OLD = [
    case("one", "simple-save", graphs.simple_save),
    case("one", "builder-with-asset", graphs.builder),
    case("one", "while-loop", graphs.recurrent),
    case("one", "training-switch", graphs.training_switch_saved),
    case(
        "one",
        "parse-example",
        graphs.parse_example,
        expect="native",
        remark="parses serialised tf.Example; save a signature of plain tensors to have it as ONNX",
        reason="ParseExample",
    ),
]
FROZEN = [
    case("frozen", "cnn", graphs.frozen_convolutions),
    case("frozen", "two-inputs-split-output", graphs.frozen_parts),
    case(
        "frozen",
        "shapes-from-config",
        graphs.frozen_without_shapes,
        options={"inputs": (TensorSpec("x", "FP32", (-1, 4)),)},
    ),
    case("frozen", "tf2-function", graphs.frozen_function),
    case("frozen", "training-switch", graphs.frozen_training_switch),
    case(
        "frozen",
        "without-weights",
        graphs.not_frozen,
        expect="refused",
        remark="the weights are not in the file; save a SavedModel or freeze the graph",
        reason="has no value in it",
    ),
]
LITE = [
    case("lite", "float32", lite.float32),
    case(
        "lite",
        "dynamic-range",
        lite.dynamic_range,
        expect="native",
        remark="large layers quantise what goes through them anew at each call; convert with a representative "
        "data set, or without optimisation, to have it as ONNX",
        reason="differs at batch",
    ),
    case("lite", "float16-weights", lite.float16),
    case("lite", "int8-float-ends", lite.int8_with_float_ends),
    case("lite", "int8", lite.int8),
    case("lite", "uint8", lite.uint8),
    case("lite", "several-signatures", lite.several_signatures),
    case("lite", "without-signature", lite.without_signature),
    case("lite", "embedding", lite.embedding),
    case("lite", "segmentation", lite.segmentation),
    case("lite", "two-inputs", lite.two_inputs),
    case("lite", "attention", lite.attention),
    case("lite", "fixed-batch", lite.fixed_batch),
    case("lite", "lstm-batch-1", lite.recurrent_batch_of_one),
    case("lite", "basic-pitch", lite.pitch_detector, options={"largest_batch": 3}),
    case(
        "lite",
        "select-tf-ops",
        lite.borrowed_operator,
        expect="refused",
        remark="operators borrowed from TensorFlow run in apps only; give the SavedModel that the file was made from",
        reason=r"borrows MatrixInverse from TensorFlow",
    ),
]
CASES: list[SourceCase] = [*SAVED, *EXPORTED, *OLD, *FROZEN, *LITE]
