"""Files of Keras 2 and before, written by tf_keras or as older backends left them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.sources.keras_writing import Net, answered, floats, ids, keras2, pixels, shaken
from tests.sources.table import Built, Call


def image_classifier() -> Net:
    keras = keras2()
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Rescaling(1 / 255, input_shape=(15, 17, 3)),
            layers.Conv2D(4, 3, padding="same", strides=2),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.MaxPooling2D(2, padding="same"),
            layers.SeparableConv2D(5, 3, padding="same"),
            layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, activation="softmax", name="scores"),
        ]
    )
    return Net(shaken(model), {"rescaling_input": pixels(15, 17, 3)}, ("scores",))


def several_inputs_and_outputs() -> Net:
    keras = keras2()
    layers = keras.layers
    p, q = keras.Input((4,), name="p"), keras.Input((4,), name="q")
    tower = layers.Dense(3, name="tower")
    outputs = [tower(p), tower(q), layers.Dense(2, name="both")(layers.concatenate([p, q]))]
    inputs = {"p": floats(4), "q": floats(4, seed=1)}
    return Net(shaken(keras.Model([p, q], outputs)), inputs, ("tower", "tower_1", "both"))


def tensorflow_functions() -> Net:
    """Operators written straight onto Keras tensors: layers of the class TFOpLambda."""
    keras = keras2()
    import tensorflow

    x = keras.Input((4,), name="x")
    y = tensorflow.nn.relu(x) * 2 + tensorflow.reduce_mean(x, 1, keepdims=True) + x[:, :1]
    return Net(shaken(keras.Model(x, keras.layers.Dense(2, name="y")(y))), {"x": floats(4)}, ("y",))


def masked_sequences() -> Net:
    keras = keras2()
    layers = keras.layers
    tokens = keras.Input((9,), dtype="int32", name="tokens")
    x = layers.Embedding(20, 6, mask_zero=True)(tokens)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.GRU(5, recurrent_activation="hard_sigmoid", reset_after=False)(x)
    return Net(shaken(keras.Model(tokens, layers.Dense(2, name="y")(x))), {"tokens": ids(20, 9)}, ("y",))


def attention() -> Net:
    keras = keras2()
    layers = keras.layers
    x = keras.Input((7, 8), name="x")
    y = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    y = layers.Dense(2, name="y")(layers.GlobalAveragePooling1D()(y))
    return Net(shaken(keras.Model(x, y)), {"x": floats(7, 8)}, ("y",))


def of_theano(folder: Path) -> Built:
    """Channels first, and kernels turned round, as Keras on Theano kept them."""
    import h5py

    keras = keras2()
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", data_format="channels_first", input_shape=(3, 9, 8), name="first"),
            layers.MaxPooling2D(2, data_format="channels_first"),
            layers.Conv2D(3, 2, data_format="channels_first", name="second"),
            layers.Flatten(data_format="channels_first"),
            layers.Dense(2, name="y"),
        ]
    )
    net = Net(shaken(model), {"first_input": floats(3, 9, 8)}, ("y",))
    path = folder / "model.h5"
    model.save(path)
    calls = tuple(answered(net, count) for count in (2, 5))
    with h5py.File(path, "r+") as file:
        for holder in (file, file["model_weights"]):
            holder.attrs["backend"] = "theano"
            holder.attrs["keras_version"] = "2.1.6"
        for name in ("first", "second"):
            kernel = file["model_weights"][name][name]["kernel:0"]
            kernel[...] = np.flip(kernel[...], (0, 1))
    return Built(path, calls)


def weights_only(folder: Path) -> Built:
    keras = keras2()
    model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
    model.save_weights(folder / "weights.h5")
    return Built(folder / "weights.h5", ())


def of_cudnn(folder: Path) -> Built:
    """Layers of Keras 2 that ran on GPUs alone; the answers are computed here, from cuDNN's own layout of weights."""
    keras = keras2()
    from tf_keras.src.layers.rnn.cudnn_gru import CuDNNGRU
    from tf_keras.src.layers.rnn.cudnn_lstm import CuDNNLSTM

    x = keras.Input((5, 3), name="x")
    model = shaken(keras.Model(x, CuDNNGRU(2, name="y")(CuDNNLSTM(4, return_sequences=True)(x))))
    model.save(folder / "model.h5")
    rows = floats(5, 3)
    answers = cudnn_gru(cudnn_lstm(rows, *model.layers[1].get_weights()), *model.layers[2].get_weights())[:, -1]
    return Built(folder / "model.h5", tuple(Call({"x": rows[:n]}, {"y": answers[:n]}) for n in (2, 5)))


def cudnn_lstm(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Gates i, f, c, o; one bias for the input and one for the state."""
    kernel, recurrent, biases = of_gates(kernel, 4), of_gates(recurrent, 4), bias.reshape(2, -1).sum(0)
    state = cell = np.zeros((len(x), recurrent.shape[0]))
    steps = []
    for step in x.swapaxes(0, 1):
        i, f, c, o = np.split(step @ kernel + state @ recurrent + biases, 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        state = sigmoid(o) * np.tanh(cell)
        steps.append(state)
    return np.stack(steps, axis=1)


def cudnn_gru(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Gates z, r, h; the reset gate comes after the product with the state."""
    kernel, recurrent, biases = of_gates(kernel, 3), of_gates(recurrent, 3), bias.reshape(2, -1)
    state = np.zeros((len(x), recurrent.shape[0]))
    steps = []
    for step in x.swapaxes(0, 1):
        z, r, h = np.split(step @ kernel + biases[0], 3, axis=1)
        of_state = np.split(state @ recurrent + biases[1], 3, axis=1)
        update, reset = sigmoid(z + of_state[0]), sigmoid(r + of_state[1])
        state = update * state + (1 - update) * np.tanh(h + reset * of_state[2])
        steps.append(state)
    return np.stack(steps, axis=1).astype(np.float32)


def of_gates(weights: np.ndarray, gates: int) -> np.ndarray:
    """Each gate's block lies row after row as cuDNN has it: [units, inputs]."""
    blocks = np.split(weights, gates, axis=1)
    return np.concatenate([block.reshape(block.shape[1], block.shape[0]).T for block in blocks], axis=1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
