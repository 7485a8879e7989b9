"""Keras 3 nets that begin with preprocessing layers: numbers, categories, words, pixels."""

from __future__ import annotations

import numpy as np

from tests.sources.keras_writing import Net, floats, keras3, pixels, shaken, words

COLOURS = ["red", "green", "blü"]


def table_of_numbers() -> Net:
    keras = keras3()
    layers = keras.layers
    scale = layers.Normalization()
    scale.adapt(np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32))
    x = keras.Input((4,), name="x")
    bins = layers.Discretization(bin_boundaries=[-1.0, 0.0, 0.5])(x)
    encoded = layers.CategoryEncoding(4, "multi_hot")(bins)
    joined = layers.Concatenate()([scale(x), encoded])
    rows = floats(4)
    rows[0] = [-1.0, 0.0, 0.5, np.nextafter(np.float32(0.5), np.float32(0))]
    return Net(shaken(keras.Model(x, layers.Dense(2, name="y")(joined))), {"x": rows}, ("y",))


def pictures() -> Net:
    keras = keras3()
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None, None, 3), name="image"),
            layers.Resizing(8, 7),
            layers.CenterCrop(6, 6),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.RandomFlip(),
            layers.RandomRotation(0.2),
            layers.RandomZoom(0.2),
            layers.RandomContrast(0.1),
            layers.RandomTranslation(0.1, 0.1),
            layers.Conv2D(2, 3, name="y"),
        ]
    )
    return Net(shaken(model), {"image": pixels(10, 12, 3)}, ("y",))


def categories() -> Net:
    keras = keras3()
    layers = keras.layers
    colour, size, code = (
        keras.Input((1,), dtype=dtype, name=name)
        for name, dtype in (("colour", "string"), ("size", "int64"), ("code", "int32"))
    )
    joined = layers.Concatenate()(
        [
            layers.Flatten()(layers.Embedding(4, 3)(layers.StringLookup(vocabulary=COLOURS)(colour))),
            layers.IntegerLookup(vocabulary=[10, 20, 35], output_mode="one_hot")(size),
            layers.CategoryEncoding(6, "one_hot")(code),
        ]
    )
    model = keras.Model([colour, size, code], layers.Dense(2, name="y")(joined))
    inputs = {
        "colour": words([*COLOURS, "teal"], 1),
        "size": np.array([[10], [35], [36], [20], [0]], np.int64),
        "code": np.array([[0], [5], [2], [3], [1]], np.int32),
    }
    return Net(shaken(model), inputs, ("y",))


def words_out() -> Net:
    keras = keras3()
    x = keras.Input((3,), name="x")
    best = keras.ops.argmax(x, axis=-1) + 1
    lookup = keras.layers.StringLookup(vocabulary=COLOURS, invert=True, name="colour")
    return Net(keras.Model(x, lookup(best)), {"x": floats(3)}, ("colour",))


def feature_space() -> Net:
    keras = keras3()
    import tensorflow

    space = keras.utils.FeatureSpace(
        {"age": "float_normalized", "job": "string_categorical", "code": "integer_categorical"}, output_mode="concat"
    )
    table = {"age": [1.0, 2.0, 3.0, 4.0], "job": ["cook", "vet", "cook", "smith"], "code": [1, 2, 3, 1]}
    space.adapt(tensorflow.data.Dataset.from_tensor_slices(table).batch(2))
    model = keras.Model(space.get_inputs(), keras.layers.Dense(2, name="y")(space.get_encoded_features()))
    inputs = {
        "age": floats(1),
        "code": np.array([[1], [2], [7], [3], [1]], np.int32),
        "job": words(["cook", "vet", "smith", "king"], 1),
    }
    return Net(shaken(model), inputs, ("y",), as_dict=True)


def text() -> Net:
    keras = keras3()
    layers = keras.layers
    vectorize = layers.TextVectorization(50, output_sequence_length=6)
    vectorize.adapt(["the cat sat", "on the mat, dog!"])
    x = keras.Input((), dtype="string", name="text")
    y = layers.Embedding(50, 4, mask_zero=True)(vectorize(x))
    model = keras.Model(x, layers.Dense(2, name="y")(layers.LSTM(3)(y)))
    return Net(shaken(model), {"text": words(["The cat!", "sat on a mat", "", "dog; Dog"])}, ("y",))


def hashed() -> Net:
    keras = keras3()
    layers = keras.layers
    x = keras.Input((2,), dtype="string", name="x")
    y = layers.Flatten()(layers.Embedding(7, 3)(layers.Hashing(7)(x)))
    return Net(shaken(keras.Model(x, layers.Dense(2, name="y")(y))), {"x": words(["a", "b", "c"], 2)}, ("y",))
