"""Keras 3 models as `model.export` saves them, as SavedModels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.sources.table import Built, Tensors
from tests.sources.tensorflow_writing import as_loaded, export_keras, floats, generator, integers


def cnn(folder: Path) -> Built:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3), name="image"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.SeparableConv2D(6, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.5),
            layers.Dense(4, activation="softmax"),
        ]
    )
    return export_keras(model, folder, lambda batch: {"image": floats("image", 16, 16, 3)(batch)["image"] * 40 + 128})


def recurrent(folder: Path) -> Built:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    steps = keras.Input((None, 3), name="steps")
    hidden = layers.LSTM(5, return_sequences=True)(steps)
    hidden = layers.Bidirectional(layers.GRU(4))(hidden)
    return export_keras(keras.Model(steps, layers.Dense(2)(hidden)), folder, floats("steps", 6, 3))


def masked(folder: Path) -> Built:
    """Token ids with padding: the mask of the embedding goes through the LSTM."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    ids = keras.Input((7,), dtype="int32", name="ids")
    hidden = layers.LSTM(5)(layers.Embedding(12, 4, mask_zero=True)(ids))

    def padded(batch: int) -> Tensors:
        drawn = integers("ids", 11, 7)(batch)["ids"] + 1
        drawn[:, 5:] = 0
        drawn[0, 2:] = 0
        return {"ids": drawn}

    return export_keras(keras.Model(ids, layers.Dense(2)(hidden)), folder, padded)


def transformer(folder: Path) -> Built:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    ids = keras.Input((None,), dtype="int32", name="ids")
    hidden = layers.Embedding(20, 8)(ids)
    attended = layers.MultiHeadAttention(2, 4)(hidden, hidden, use_causal_mask=True)
    hidden = layers.LayerNormalization()(hidden + attended)
    hidden = layers.LayerNormalization()(hidden + layers.Dense(8)(layers.Dense(16, activation="gelu")(hidden)))
    return export_keras(keras.Model(ids, layers.Dense(20)(hidden)), folder, integers("ids", 20, 6))


def tabular(folder: Path) -> Built:
    """Preprocessing layers with what they learned: scales, ranges, words and ids, each column an input."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    age, income = (keras.Input((1,), name=name) for name in ("age", "income"))
    city = keras.Input((1,), dtype="string", name="city")
    code = keras.Input((1,), dtype="int64", name="code")
    scale = layers.Normalization(mean=[40.0], variance=[100.0])
    ranges = layers.Discretization([20.0, 30.0, 60.0], output_mode="one_hot")
    cities = layers.StringLookup(vocabulary=["Bonn", "K\u00f6ln"], output_mode="one_hot")
    codes = layers.IntegerLookup(vocabulary=[7, 9, 11])
    joined = layers.Concatenate()(
        [scale(income), ranges(age), cities(city), layers.Flatten()(layers.Embedding(4, 2)(codes(code)))]
    )
    model = keras.Model([age, income, city, code], layers.Dense(1, activation="sigmoid")(joined))
    model.export(str(folder / "model"), verbose=False)

    def people(batch: int) -> Tensors:
        draw = generator(batch)
        names = np.array([b"Bonn", "K\u00f6ln".encode(), b"Rom"], dtype=object)
        return {
            "age": draw.choice(np.array([19, 20, 45, 80], np.float32), (batch, 1)),
            "income": draw.normal(40, 10, (batch, 1)).astype(np.float32),
            "city": draw.choice(names, (batch, 1)),
            "code": draw.choice(np.array([7, 9, 11, 12]), (batch, 1)),
        }

    return as_loaded(folder / "model", people)


def segmentation(folder: Path) -> Built:
    """A small U-Net: transposed convolutions, upsampling, skip connections."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((16, 16, 3), name="image")
    down = layers.Conv2D(6, 3, padding="same", activation="swish")(image)
    deep = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(down)
    deep = layers.UpSampling2D(interpolation="bilinear")(layers.AveragePooling2D(2)(deep))
    up = layers.Conv2DTranspose(6, 3, strides=2, padding="same")(deep)
    joined = layers.Concatenate()([up, down])
    return export_keras(
        keras.Model(image, layers.Conv2D(2, 1, activation="softmax")(joined)), folder, floats("image", 16, 16, 3)
    )


def series(folder: Path) -> Built:
    """Dilated causal convolutions over time."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    steps = keras.Input((None, 2), name="steps")
    hidden = layers.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="elu")(steps)
    hidden = hidden + layers.Conv1D(6, 1)(steps)
    hidden = layers.GroupNormalization(2)(layers.SpatialDropout1D(0.2)(hidden))
    return export_keras(
        keras.Model(steps, layers.Dense(1)(layers.GlobalMaxPooling1D()(hidden))), folder, floats("steps", 20, 2)
    )
