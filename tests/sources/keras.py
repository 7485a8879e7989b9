"""Keras sources: archives of Keras 3, and the HDF5 files of all its generations.

The nets are in `keras_layers.py`, `keras_sequences.py`, `keras_preprocessing.py`, `keras_custom.py` and
`keras_legacy.py`.
"""

from __future__ import annotations

from functools import partial

from tests.sources import keras_custom as custom
from tests.sources import keras_layers as layers
from tests.sources import keras_legacy as legacy
from tests.sources import keras_preprocessing as preprocessing
from tests.sources import keras_sequences as sequences
from tests.sources.keras_writing import KINDS, case
from tests.sources.table import SourceCase

FEW_ROWS = {"largest_batch": 8}
"""For nets whose 64 images would only take time."""
HALF = {"rtol": 1e-2}
"""Half precision inside: TensorFlow and ONNX Runtime round at other places."""

CASES: list[SourceCase] = [
    case("image-classifier", "archive", layers.image_classifier),
    case("decoder", "archive", layers.decoder),
    case("signals-and-volumes", "archive", layers.signals_and_volumes),
    case("dicts-and-lists", "archive", layers.dicts_and_lists),
    case("one-layer-twice-and-an-idle-input", "archive", layers.one_layer_twice),
    case("nested-models", "archive", layers.nested_models),
    case("sequential-without-input", "archive", layers.sequential_without_input),
    case("operations", "archive", layers.operations),
    case("bool-uint8-and-int64-inputs", "archive", layers.numbers_of_all_kinds),
    case("activations", "archive", layers.activations),
    case("normalisations", "archive", layers.normalised),
    case("float64", "archive", partial(layers.with_policy, "float64")),
    case("float16", "archive", partial(layers.with_policy, "float16"), rtol=1e-2),
    case("mixed-float16-within-a-hundredth", "archive", layers.mixed_to_float32, options=HALF, rtol=1e-2),
    case(
        "mixed-float16",
        "archive",
        layers.mixed_to_float32,
        expect="native",
        remark="half precision rounds at other places in ONNX; allow for it with `convert: {parity: {rtol: 1e-2}}`",
        reason="differs at batch .* tolerance 0.0001",
        rtol=1e-2,  # as Keras itself rounds otherwise in a graph
    ),
    case(
        "bfloat16",
        "archive",
        partial(layers.with_policy, "bfloat16"),
        expect="native",
        remark="ONNX Runtime has no bfloat16 kernels for the CPU; save the model with the policy float32 for ONNX",
        reason="ONNX Runtime does not load",
        rtol=1e-2,
    ),
    case("mobilenet", "archive", layers.mobilenet, options=FEW_ROWS),
    case("efficientnet", "archive", layers.efficientnet, options=FEW_ROWS),
    case("lstm-any-length", "archive", sequences.lstm_any_length),
    case("masked-embedding", "archive", sequences.masked_embedding),
    case("bidirectional-masked", "archive", sequences.bidirectional),
    case("lstm-with-states", "archive", sequences.states),
    case("unusual-recurrent-layers", "archive", sequences.unusual_cells),
    case("stacked-cells", "archive", sequences.stacked_cells),
    case("conv-lstm-time-distributed", "archive", sequences.pictures_over_time),
    case("transformer-encoder", "archive", sequences.transformer),
    case("attentions", "archive", sequences.attentions),
    SourceCase(
        "keras-stateful-lstm",
        "keras",
        KINDS["archive"][1],
        sequences.stateful,
        expect="refused",
        remark="a stateful layer's answers depend on the requests before; give states as inputs and outputs instead",
        reason="layer 'y' is stateful",
    ),
    case("table-of-numbers", "archive", preprocessing.table_of_numbers),
    case("pictures-resized-and-cropped", "archive", preprocessing.pictures),
    case("categories-looked-up", "archive", preprocessing.categories),
    case("words-out", "archive", preprocessing.words_out),
    case("feature-space", "archive", preprocessing.feature_space),
    case(
        "text-vectorization",
        "archive",
        preprocessing.text,
        expect="native",
        remark="ONNX has no regular expressions and no lower case of Unicode; split text outside of the model for it",
        reason="StaticRegexReplace",
    ),
    case(
        "hashed-words",
        "archive",
        preprocessing.hashed,
        expect="native",
        remark="ONNX has no hash of TensorFlow's; StringLookup with a vocabulary becomes ONNX",
        reason="StringToHashBucketFast",
    ),
    case("own-layers-and-xla", "archive", custom.own_layers, options=custom.OWN_LAYERS),
    case("subclassed-model", "archive", custom.own_model, options=custom.OWN_MODEL),
    case("lambda-trusted", "archive", custom.code_in_the_file, options={"trust": True}),
    case(
        "lambda",
        "archive",
        custom.code_in_the_file,
        expect="refused",
        remark="a Lambda layer is code in the file; use a layer of Keras or of your own, or say `trust: true`",
        reason="layer 'lambda' is a Lambda, which carries code",
    ),
    SourceCase("keras-torch-backend", "keras", KINDS["archive"][1], custom.of_the_torch_backend),
    case("image-classifier", "h5", layers.image_classifier),
    case("masked-embedding", "h5", sequences.masked_embedding),
    case("image-classifier", "keras-2", legacy.image_classifier),
    case("several-inputs-and-outputs", "keras-2", legacy.several_inputs_and_outputs),
    case("tensorflow-functions", "keras-2", legacy.tensorflow_functions),
    case("masked-sequences", "keras-2", legacy.masked_sequences),
    case("attention", "keras-2", legacy.attention),
    case("several-inputs-and-outputs", "keras-2-archive", legacy.several_inputs_and_outputs),
    SourceCase("keras-2-theano-channels-first", "keras", KINDS["keras-2"][1], legacy.of_theano),
    SourceCase("keras-2-cudnn-lstm-gru", "keras", KINDS["keras-2"][1], legacy.of_cudnn),
    SourceCase(
        "keras-2-weights-only",
        "keras",
        KINDS["keras-2"][1],
        legacy.weights_only,
        expect="refused",
        remark="weights without the model that they belong to; save the whole with model.save('model.keras')",
        reason="holds weights only",
    ),
]
