"""Keras 3 nets for images, signals and tables of numbers."""

from __future__ import annotations

import numpy as np

from tests.sources.keras_writing import Net, floats, ids, keras3, pixels, shaken


def image_classifier() -> Net:
    keras = keras3()
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((15, 17, 3), name="image"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, padding="same", strides=2),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.MaxPooling2D(2, padding="same"),
            layers.SeparableConv2D(6, 3, padding="same", activation="swish"),
            layers.DepthwiseConv2D(3, padding="same", strides=2),
            layers.Dropout(0.5),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, activation="softmax", name="scores"),
        ]
    )
    return Net(shaken(model), {"image": pixels(15, 17, 3)}, ("scores",))


def decoder() -> Net:
    keras = keras3()
    layers = keras.layers
    image = keras.Input((9, 7, 3), name="image")
    x = layers.AveragePooling2D(2, padding="same")(image)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="leaky_relu")(x)
    x = layers.GroupNormalization(2)(x)
    x = layers.ZeroPadding2D(1)(layers.Cropping2D(((1, 0), (0, 2)))(x))
    x = layers.LayerNormalization()(layers.PReLU(shared_axes=[1, 2])(x))
    model = keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x))
    return Net(shaken(model), {"image": floats(9, 7, 3)}, ("mask",))


def signals_and_volumes() -> Net:
    keras = keras3()
    layers = keras.layers
    volume, signal = keras.Input((8, 7, 6, 2), name="volume"), keras.Input((None, 3), name="signal")
    x = layers.Conv3D(3, 3, padding="same", strides=2)(volume)
    x = layers.Conv3DTranspose(2, 2, strides=2)(x)
    x = layers.GlobalMaxPooling3D()(layers.AveragePooling3D(2, padding="same")(x))
    y = layers.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="elu")(signal)
    y = layers.SeparableConv1D(5, 3, padding="same")(layers.MaxPooling1D(2, padding="same")(y))
    y = layers.GlobalAveragePooling1D()(layers.Conv1DTranspose(4, 3, strides=2)(y))
    model = keras.Model([volume, signal], layers.Dense(2, name="out")(layers.Concatenate()([x, y])))
    return Net(shaken(model), {"volume": floats(8, 7, 6, 2), "signal": floats(11, 3)}, ("out",))


def dicts_and_lists() -> Net:
    keras = keras3()
    layers = keras.layers
    image, extra = keras.Input((6, 6, 2), name="pixels"), keras.Input((3,), name="more")
    hidden = layers.Concatenate()([layers.Flatten()(layers.Conv2D(3, 3, activation="relu")(image)), extra])
    shared = layers.Dense(3, name="shared")
    outputs = {
        "scores": layers.Dense(4, activation="softmax")(hidden),
        "heads": [shared(extra), shared(layers.Dense(3)(hidden))],
    }
    model = keras.Model({"image": image, "extra": extra}, outputs)
    inputs = {"extra": floats(3), "image": floats(6, 6, 2)}
    return Net(shaken(model), inputs, ("heads_0", "heads_1", "scores"), as_dict=True)


def one_layer_twice() -> Net:
    keras = keras3()
    left, right, idle = (keras.Input((4,), name=name) for name in ("left", "right", "idle"))
    tower = keras.layers.Dense(3, activation="tanh", name="tower")
    model = keras.Model([left, right, idle], [tower(left), tower(right)])
    return Net(
        shaken(model),
        {"left": floats(4), "right": floats(4, seed=1), "idle": floats(4, seed=2)},
        ("tower", "tower_1"),
    )


def nested_models() -> Net:
    keras = keras3()
    layers = keras.layers
    block = keras.Sequential([keras.Input((4,)), layers.Dense(4, activation="gelu"), layers.LayerNormalization()])
    x = keras.Input((4,), name="x")
    y = layers.Add()([block(x), block(block(x))])
    return Net(shaken(keras.Model(x, layers.Dense(2, name="y")(y))), {"x": floats(4)}, ("y",))


def sequential_without_input() -> Net:
    keras = keras3()
    model = keras.Sequential([keras.layers.Dense(5, activation="selu"), keras.layers.Dense(2, name="out")])
    model(floats(3))
    return Net(shaken(model), {"input_layer": floats(3)}, ("out",))


def operations() -> Net:
    keras = keras3()
    ops = keras.ops
    x = keras.Input((6,), name="x")
    values, places = ops.top_k(x, 2)
    outputs = {
        "values": values,
        "places": places,
        "best": ops.argmax(x, axis=-1),
        "outer": ops.einsum("bi,bj->bij", x, x),
        "sums": ops.cumsum(ops.sort(x, axis=-1), axis=1),
        "softened": ops.logsumexp(x, axis=1) * 0.5 + ops.erf(x[:, 0]),
        "chosen": ops.where(x > 0, ops.sqrt(ops.abs(x)), -x),
    }
    # Keras flattens a dict by its sorted keys.
    return Net(keras.Model(x, outputs), {"x": floats(6)}, tuple(sorted(outputs)))


def numbers_of_all_kinds() -> Net:
    keras = keras3()
    layers = keras.layers
    switch = keras.Input((3,), dtype="bool", name="switch")
    image = keras.Input((4, 4, 1), dtype="uint8", name="image")
    count = keras.Input((3,), dtype="int64", name="count")
    joined = layers.Concatenate()(
        [
            keras.ops.cast(switch, "float32"),
            layers.Flatten()(layers.Rescaling(1 / 127.5, offset=-1)(image)),
            keras.ops.cast(count % 3, "float32"),
        ]
    )
    model = keras.Model([switch, image, count], [layers.Dense(2, name="out")(joined), keras.ops.sum(count, axis=1)])
    generator = np.random.default_rng(5)
    inputs = {
        "switch": generator.random((5, 3)) < 0.5,
        "image": generator.integers(0, 256, (5, 4, 4, 1)).astype(np.uint8),
        "count": ids(90, 3).astype(np.int64),
    }
    return Net(shaken(model), inputs, ("out", "sum"))


def activations() -> Net:
    keras = keras3()
    names = ("relu6", "elu", "selu", "softplus", "softsign", "silu", "gelu", "mish", "hard_sigmoid", "hard_silu")
    names += ("log_softmax", "exponential", "leaky_relu", "hard_tanh", "celu", "squareplus", "tanh_shrink")
    names += ("soft_shrink", "log_sigmoid", "sparse_plus")
    x = keras.Input((4,), name="x")
    outputs = [keras.layers.Activation(name, name=name)(x) for name in names]
    return Net(keras.Model(x, outputs), {"x": floats(4) * 3}, names)


def normalised() -> Net:
    keras = keras3()
    layers = keras.layers
    x = keras.Input((8, 8, 2), name="x")
    y = layers.SpectralNormalization(layers.Conv2D(4, 3))(x)
    y = layers.UnitNormalization()(layers.RMSNormalization()(layers.BatchNormalization(axis=1)(y)))
    y = layers.EinsumDense("abcd,de->abce", output_shape=(None, None, 3), name="y")(y)
    return Net(shaken(keras.Model(x, y)), {"x": floats(8, 8, 2)}, ("y",))


def with_policy(policy: str) -> Net:
    """A small net under a dtype policy, its input in float32 where Keras leaves it so."""
    keras = keras3()
    keras.config.set_dtype_policy(policy)
    try:
        x = keras.Input((5,), name="x", dtype="float64" if policy == "float64" else "float32")
        y = keras.layers.Dense(3, name="y")(keras.layers.Dense(8, activation="relu")(x))
        model = keras.Model(x, y)
    finally:
        keras.config.set_dtype_policy("float32")
    rows = floats(5)
    return Net(shaken(model), {"x": rows.astype(np.float64) if policy == "float64" else rows}, ("y",))


def mixed_to_float32() -> Net:
    """As Keras's guide has it: half precision inside, the last layer in float32."""
    keras = keras3()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        x = keras.Input((5,), name="x")
        hidden = keras.layers.Dense(16, activation="relu")(x)
        model = keras.Model(x, keras.layers.Dense(3, name="y", dtype="float32")(hidden))
    finally:
        keras.config.set_dtype_policy("float32")
    return Net(shaken(model), {"x": floats(5)}, ("y",))


def mobilenet() -> Net:
    keras = keras3()
    model = keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, weights=None, classes=5)
    return Net(shaken(model), {"input_layer": floats(64, 64, 3)}, ("predictions",))


def efficientnet() -> Net:
    keras = keras3()
    model = keras.applications.EfficientNetB0(input_shape=(64, 64, 3), weights=None, classes=5)
    return Net(shaken(model), {"input_layer": pixels(64, 64, 3)}, ("predictions",))
