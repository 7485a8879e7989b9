"""TFLite files, converted by TensorFlow from Keras models and from functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.table import Built, Tensors
from tests.sources.tensorflow_modules import module, pretrained, spec, weights
from tests.sources.tensorflow_writing import floats, generator, integers, interpreted, write_lite


def image_model() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((12, 12, 3), name="image"),
            layers.Conv2D(6, 3, strides=2, padding="same", activation="relu"),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ]
    )


def pixels(batch: int) -> Tensors:
    return {"image": generator(batch).random((batch, 12, 12, 3)).astype(np.float32)}


def image_converter() -> Any:
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_keras_model(image_model())


def representative() -> Iterator[list[np.ndarray]]:
    for seed in range(20):
        yield [np.random.default_rng(seed).random((1, 12, 12, 3)).astype(np.float32)]


def float32(folder: Path) -> Built:
    return write_lite(image_converter(), folder, pixels)


def dynamic_range(folder: Path) -> Built:
    """int8 weights of large layers, floating activations."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    model = keras.Sequential([keras.Input((64,), name="x"), dense(128, activation="relu"), dense(64), dense(3)])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return write_lite(converter, folder, floats("x", 64))


def float16(folder: Path) -> Built:
    import tensorflow as tf

    converter = image_converter()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return write_lite(converter, folder, pixels)


def quantised(converter: Any, kind: Any = None) -> Any:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    if kind is not None:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = kind
    return converter


def int8_with_float_ends(folder: Path) -> Built:
    return write_lite(quantised(image_converter()), folder, pixels)


def int8(folder: Path) -> Built:
    import tensorflow as tf

    def draw(batch: int) -> Tensors:
        return {"image": generator(batch).integers(-128, 128, (batch, 12, 12, 3)).astype(np.int8)}

    return write_lite(quantised(image_converter(), tf.int8), folder, draw)


def uint8(folder: Path) -> Built:
    import tensorflow as tf

    return write_lite(quantised(image_converter(), tf.uint8), folder, integers("image", 256, 12, 12, 3, dtype=np.uint8))


def several_signatures(folder: Path) -> Built:
    import tensorflow as tf

    shared = weights(4, 3)

    @module(spec("x", None, 4), w=shared)
    def net(self: Any, x: Any) -> Any:
        return {"y": tf.nn.softmax(x @ self.w)}

    net.embed = tf.function(lambda x: {"hidden": x @ shared + 1.0}, input_signature=[spec("x", None, 4)])
    tf.saved_model.save(net, str(folder / "saved"), signatures={"score": net.call, "embed": net.embed})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"), signature_keys=["score", "embed"])
    return write_lite(converter, folder, {"embed": floats("x", 4), "score": floats("x", 4)})


def embedding(folder: Path) -> Built:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = keras.layers
    ids = keras.Input((6,), dtype="int32", name="ids")
    hidden = layers.GlobalAveragePooling1D()(layers.Embedding(15, 4)(ids))
    model = keras.Model(ids, layers.Dense(2)(hidden))
    return write_lite(tf.lite.TFLiteConverter.from_keras_model(model), folder, integers("ids", 15, 6))


def segmentation(folder: Path) -> Built:
    """Transposed convolution, resizing, concatenation, and a class a pixel."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    deep = layers.Conv2D(6, 3, strides=2, padding="same", activation="hard_swish")(image)
    up = layers.Conv2DTranspose(4, 2, strides=2)(deep)
    joined = layers.Concatenate()([up, layers.UpSampling2D(interpolation="bilinear")(deep), image])
    model = keras.Model(image, layers.Conv2D(3, 1, activation="sigmoid")(joined))
    return write_lite(tf.lite.TFLiteConverter.from_keras_model(model), folder, floats("image", 8, 8, 3))


def two_inputs(folder: Path) -> Built:
    import tensorflow as tf

    @module(spec("left", None, 4), spec("right", None, 4), w=weights(4, 4))
    def net(self: Any, left: Any, right: Any) -> Any:
        mixed = left @ self.w
        score = tf.reduce_sum(mixed * right, 1)
        return {"score": tf.sigmoid(score), "nearest": tf.argmax(tf.abs(mixed - right), 1)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([net.call.get_concrete_function()], net)

    def draw(batch: int) -> Tensors:
        both = floats("both", 2, 4)(batch)["both"]
        return {"left": both[:, 0].copy(), "right": both[:, 1].copy()}

    return write_lite(converter, folder, draw)


def attention(folder: Path) -> Built:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = keras.layers
    steps = keras.Input((6, 8), name="steps")
    hidden = layers.LayerNormalization()(steps + layers.MultiHeadAttention(2, 4)(steps, steps))
    model = keras.Model(steps, layers.Dense(3)(layers.Dense(8, activation="gelu")(hidden)))
    return write_lite(tf.lite.TFLiteConverter.from_keras_model(model), folder, floats("steps", 6, 8))


def fixed_batch(folder: Path) -> Built:
    """Converted for a batch of one, with a reshape that holds it fast."""
    import tensorflow as tf

    @module(spec("image", 1, 6, 6, 2), w=weights(3, 3, 2, 4), v=weights(64, 3))
    def net(self: Any, image: Any) -> Any:
        hidden = tf.nn.relu(tf.nn.conv2d(image, self.w, 1, "VALID"))
        return {"scores": tf.nn.softmax(tf.reshape(hidden, [1, 64]) @ self.v)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([net.call.get_concrete_function()], net)
    return write_lite(converter, folder, floats("image", 6, 6, 2), batches=(1,))


def recurrent_batch_of_one(folder: Path) -> Built:
    """Recurrent layers are usually converted for a batch of one."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    steps = keras.Input(batch_shape=(1, 5, 3), name="steps")
    model = keras.Model(steps, keras.layers.Dense(2)(keras.layers.LSTM(4)(steps)))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    return write_lite(converter, folder, floats("steps", 5, 3), batches=(1,))


def without_signature(folder: Path) -> Built:
    """A file of before there were signatures: names are those of its tensors."""
    import tensorflow as tf
    from tensorflow.lite.tools import flatbuffer_utils

    from tests.sources.table import Call

    @module(spec("x", None, 4), w=weights(4, 3))
    def net(self: Any, x: Any) -> Any:
        return tf.nn.relu(x @ self.w, name="hidden")

    converter = tf.lite.TFLiteConverter.from_concrete_functions([net.call.get_concrete_function()], net)
    file = flatbuffer_utils.read_model_from_bytearray(bytearray(converter.convert()))
    file.signatureDefs = []
    names = {"in": b"features", "out": b"scores"}
    graph = file.subgraphs[0]
    graph.tensors[graph.inputs[0]].name, graph.tensors[graph.outputs[0]].name = names["in"], names["out"]
    (folder / "model.tflite").write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(file)))
    calls = []
    for batch in (2, 5):
        x = floats("x", 4)(batch)["x"]
        calls.append(Call({"features": x}, {"scores": np.asarray(net.call(x))}))
    return Built(folder / "model.tflite", tuple(calls))


def borrowed_operator(folder: Path) -> Built:
    """`SELECT_TF_OPS`: an operator that TFLite borrows from TensorFlow."""
    import tensorflow as tf

    @module(spec("x", None, 3, 3))
    def net(self: Any, x: Any) -> Any:
        return {"y": tf.linalg.inv(x + 4 * tf.eye(3))}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([net.call.get_concrete_function()], net)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    (folder / "model.tflite").write_bytes(converter.convert())
    return Built(folder / "model.tflite", ())


def pitch_detector(folder: Path) -> Built:
    return interpreted(pretrained() / "nmp.tflite", floats("input_2", 43844, 1), batches=(1, 2))
