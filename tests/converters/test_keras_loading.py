"""Keras files loaded in this process: what is refused and why, names, and where inputs lie."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from converters.base import Conversion, ConversionOptions, load_converter
from converters.candidates import runs_of
from converters.keras.custom_objects import import_custom_objects, with_registered_names
from converters.keras.theano import flipped
from model_store.errors import ConfigError, ConversionError, SourceError
from model_store.manifest import TensorSpec
from tests.sources.keras_custom import OWN_LAYERS, OWN_MODEL, own_layers, own_model
from tests.sources.keras_writing import floats, keras2, keras3

pytestmark = pytest.mark.filterwarnings("ignore")
# TensorFlow and Keras warn of themselves.


def save(model: Any, path: Path) -> Path:
    model.save(path)
    return path


def convert(source: Path, workdir: Path, **options: Any) -> Conversion:
    workdir.mkdir(exist_ok=True)
    return next(iter(load_converter("keras").alternatives(source, ConversionOptions(**options), workdir)))


def native(source: Path, workdir: Path, **options: Any) -> Conversion:
    workdir.mkdir(exist_ok=True)
    return load_converter("keras").native(source, ConversionOptions(**options), workdir)


def test_kernels_turn_along_all_but_channels() -> None:
    kernel = np.arange(8, dtype=np.float32).reshape(2, 2, 1, 2)
    assert flipped(kernel)[..., 0, 0].tolist() == [[6, 4], [2, 0]]
    assert flipped(kernel)[..., 0, 1].tolist() == [[7, 5], [3, 1]]
    assert flipped(np.array([[[1.0]], [[2.0]], [[3.0]]])).ravel().tolist() == [3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("own_layers", r"custom_objects\.Scale: expected 'package\.module:name', got 'own_layers'"),
        ("own_layers:Missing", r"custom_objects\.Scale: module 'own_layers' has no 'Missing'"),
        (
            "not_there:Scale",
            r"module 'not_there' can't be imported \(folder '.*keras_code' is searched first\): ModuleNotFoundError",
        ),
    ],
)
def test_a_wrong_import_path_is_told(path: str, message: str) -> None:
    options = ConversionOptions(code_folder=str(OWN_LAYERS["code_folder"]), custom_objects={"Scale": path})
    with pytest.raises(ConfigError, match=message):
        import_custom_objects(options)


def test_a_short_name_stands_for_the_registered_one() -> None:
    config = {"layers": [{"class_name": "Scale", "registered_name": "mine>Scale"}, {"class_name": "Dense"}]}
    assert with_registered_names({"Scale": int}, config) == {"Scale": int, "mine>Scale": int}


def test_missing_classes_are_told_with_what_to_write(tmp_path: Path) -> None:
    source = save(own_layers().model, tmp_path / "m.keras")
    where = r"tests\.sources\.keras_code\.own_layers"
    with pytest.raises(
        SourceError,
        match=rf'needs Squash, Scale, .* `custom_objects: \{{Squash: "{where}:Squash", Scale: "{where}:Scale"\}}`',
    ):
        convert(source, tmp_path / "work")


def test_a_missing_class_of_keras_2_is_told(tmp_path: Path) -> None:
    keras = keras2()

    class Mine(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 2

    x = keras.Input((3,), name="x")
    source = save(keras.Model(x, Mine()(x)), tmp_path / "m.h5")
    with pytest.raises(SourceError, match=r'needs Mine, .* `custom_objects: \{Mine: "package.module:Mine"\}`'):
        convert(source, tmp_path / "work")


@pytest.mark.parametrize("library", [keras3, keras2], ids=["keras-3", "keras-2"])
@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_what_a_model_was_trained_with_is_not_needed(tmp_path: Path, library: Any, file: str) -> None:
    keras = library()

    class Mine(keras.losses.Loss):
        def call(self, truth: Any, predicted: Any) -> Any:
            return (truth - predicted) ** 2

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", Mine(), metrics=[lambda truth, predicted: truth - predicted])
    model.fit(floats(3), floats(1), verbose=0)
    made = convert(save(model, tmp_path / file), tmp_path / "work")
    assert [spec.shape for spec in made.signature.outputs] == [(-1, 1)]


def test_a_file_of_keras_1_says_what_to_do(tmp_path: Path) -> None:
    layer = {"class_name": "Dense", "config": {"name": "d", "output_dim": 2, "batch_input_shape": [None, 3]}}
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": [layer]})
        file.attrs["keras_version"] = "1.2.2"
    with pytest.raises(SourceError, match=r"written by Keras 1, .* load it with Keras 2\.2 and save it anew"):
        convert(tmp_path / "m.h5", tmp_path / "work")


def test_a_subclassed_model_that_does_not_know_its_inputs_asks_for_them(tmp_path: Path) -> None:
    model = own_model().model
    source = save(model, tmp_path / "m.keras")
    with pytest.raises(SourceError, match=r"can't be called with x FP32\[-1, 4\]: .*; say what call\(x\) takes with"):
        convert(source, tmp_path / "work", inputs=(TensorSpec("x", "FP32", (-1, 4)),), **OWN_MODEL)
    made = convert(source, tmp_path / "more", inputs=(TensorSpec("rows", "FP32", (-1, 3)),), **OWN_MODEL)
    assert [(spec.name, spec.shape) for spec in made.signature.inputs] == [("rows", (-1, 3))]
    assert [(spec.name, spec.shape) for spec in made.signature.outputs] == [("product", (-1, 4)), ("sum", (-1,))]


def test_names_stay_apart(tmp_path: Path) -> None:
    keras = keras3()
    x = keras.Input((3,), name="my x:0")
    y = keras.layers.LSTM(2, return_state=True, name="lstm")(keras.layers.Reshape((3, 1))(x))
    made = convert(save(keras.Model(x, [x, *y]), tmp_path / "m.keras"), tmp_path / "work")
    assert [spec.name for spec in made.signature.inputs] == ["my_x_0"]
    assert [spec.name for spec in made.signature.outputs] == ["my_x_0_1", "lstm", "lstm_1", "lstm_2"]
    outputs = runs_of(made, trusted=False)["serving_default"]({"my_x_0": floats(3)})
    np.testing.assert_array_equal(outputs["my_x_0_1"], floats(3))


def test_inputs_lie_where_the_layers_say(tmp_path: Path) -> None:
    keras = keras3()
    layers = keras.layers
    image, token = keras.Input((4, 4, 1), name="image"), keras.Input((3,), dtype="int32", name="token")
    code, word = keras.Input((1,), dtype="int32", name="code"), keras.Input((1,), dtype="string", name="word")
    outputs = [
        layers.Rescaling(1 / 255, name="scaled")(layers.RandomFlip()(image)),
        layers.Embedding(17, 2, name="embedded")(layers.Reshape((3, 1))(token)),
        layers.CategoryEncoding(5, "one_hot", name="encoded")(code),
        layers.StringLookup(vocabulary=["a", "b"], name="found")(word),
    ]
    source = save(keras.Model([image, token, code, word], outputs), tmp_path / "m.keras")
    made = convert(source, tmp_path / "work")
    assert made.ranges == {"image": (0.0, 255.0), "token": (0, 16), "code": (0, 4)}
    assert set(made.choices) == {"word"}
    assert {b"a", b"b"} < set(made.choices["word"].tolist())


def test_numbers_lie_where_the_training_data_lay(tmp_path: Path) -> None:
    keras = keras3()
    x, y = keras.Input((2,), name="x"), keras.Input((2, 2), name="y")
    columns = keras.layers.Normalization(mean=[10.0, -4.0], variance=[4.0, 1.0])
    whole = keras.layers.Normalization(axis=None, mean=1.0, variance=9.0)
    source = save(keras.Model([x, y], [columns(x), whole(y)]), tmp_path / "m.keras")
    ranges = convert(source, tmp_path / "work").ranges
    assert [np.asarray(limit).tolist() for limit in ranges["x"]] == [[4.0, -7.0], [16.0, -1.0]]
    assert [np.asarray(limit).tolist() for limit in ranges["y"]] == [[-8.0], [10.0]]


def test_texts_are_made_of_known_words(tmp_path: Path) -> None:
    keras = keras3()
    vectorize = keras.layers.TextVectorization(vocabulary=["the", "cat", "sat"], output_sequence_length=4)
    text = keras.Input((), dtype="string", name="text")
    source = save(keras.Model(text, vectorize(text)), tmp_path / "m.keras")
    texts = native(source, tmp_path / "work").choices["text"].tolist()
    assert texts == [b"the", b"cat", b"sat", b"the cat sat", b"SAT", b"unheard-of, the cat!"]


def test_served_natively_it_has_the_same_names_and_answers(tmp_path: Path) -> None:
    keras = keras3()
    x, z = keras.Input((3,), name="x-1"), keras.Input((2,), name="a-z")
    outputs = {"b": keras.layers.Dense(2)(x), "a.0": keras.layers.Dense(1)(z)}
    source = save(keras.Model({"x/1": x, "a-z": z}, outputs), tmp_path / "m.keras")
    made = native(source, tmp_path / "work")
    assert (made.runtime, made.model.name) == ("tensorflow", "saved_model")
    assert [(spec.name, spec.shape) for spec in made.signature.inputs] == [("a-z", (-1, 2)), ("x/1", (-1, 3))]
    assert [(spec.name, spec.shape) for spec in made.signature.outputs] == [("a.0", (-1, 1)), ("b", (-1, 2))]
    inputs = {"x/1": floats(3), "a-z": floats(2)}
    answers, expected = runs_of(made, trusted=False)["serving_default"](inputs), made.reference(inputs)
    for name in ("a.0", "b"):
        np.testing.assert_allclose(answers[name], expected[name], rtol=1e-6)


def test_trusted_code_that_is_no_tensorflow_is_served_by_keras(tmp_path: Path) -> None:
    keras = keras3()
    x = keras.Input((3,), name="x")
    doubled = keras.layers.Lambda(lambda value: value.numpy() * 2.0, output_shape=(3,), name="doubled")(x)
    source = save(keras.Model(x, doubled), tmp_path / "m.keras")
    with pytest.raises(ConversionError, match=r"can't trace the Keras model: .* has no attribute 'numpy'"):
        convert(source, tmp_path / "work", trust=True)
    made = native(source, tmp_path / "more", trust=True)
    assert made.model.name == "model.keras"
    assert [(spec.name, spec.datatype, spec.shape) for spec in made.signature.outputs] == [("doubled", "FP32", (-1, 3))]
    answers = runs_of(made, trusted=True)["serving_default"]({"x": floats(3)})
    np.testing.assert_array_equal(answers["doubled"], floats(3) * 2)
