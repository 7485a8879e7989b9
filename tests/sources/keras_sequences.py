"""Keras 3 nets over sequences: recurrent layers with and without masks, attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.sources.keras_writing import Net, floats, ids, keras3, shaken
from tests.sources.table import Built


def lstm_any_length() -> Net:
    keras = keras3()
    layers = keras.layers
    x = keras.Input((None, 5), name="x")
    y = layers.LSTM(4, name="y")(layers.LSTM(6, return_sequences=True)(x))
    return Net(shaken(keras.Model(x, y)), {"x": floats(9, 5)}, ("y",))


def masked_embedding() -> Net:
    keras = keras3()
    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(20, 6, mask_zero=True)(tokens)
    x = layers.LSTM(6, return_sequences=True)(x)
    outputs = {"last": layers.GRU(5)(x), "steps": layers.SimpleRNN(3, return_sequences=True)(x)}
    return Net(shaken(keras.Model(tokens, outputs)), {"tokens": ids(20, 12)}, ("last", "steps"))


def bidirectional() -> Net:
    keras = keras3()
    layers = keras.layers
    tokens = keras.Input((9,), dtype="int32", name="tokens")
    x = layers.Embedding(20, 6, mask_zero=True)(tokens)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.Bidirectional(layers.GRU(3), merge_mode="sum")(x)
    return Net(shaken(keras.Model(tokens, layers.Dense(2, name="y")(x))), {"tokens": ids(20, 9)}, ("y",))


def states() -> Net:
    keras = keras3()
    layers = keras.layers
    x, h, c = keras.Input((6, 3), name="x"), keras.Input((4,), name="h"), keras.Input((4,), name="c")
    masked = layers.Masking(0.0)(x)
    y = layers.LSTM(4, return_state=True, return_sequences=True, name="lstm")(masked, initial_state=[h, c])
    rows = floats(6, 3)
    rows[0, 4:] = rows[1, :2] = 0
    inputs = {"x": rows, "h": floats(4, seed=1), "c": floats(4, seed=2)}
    return Net(shaken(keras.Model([x, h, c], y)), inputs, ("lstm", "lstm_1", "lstm_2"))


def unusual_cells() -> Net:
    keras = keras3()
    layers = keras.layers
    x = keras.Input((6, 3), name="x")
    y = layers.LSTM(4, activation="relu", recurrent_activation="hard_sigmoid", go_backwards=True, use_bias=False)(x)
    z = layers.GRU(4, reset_after=False, activation="softsign", unroll=True)(x)
    w = layers.GRU(4, activation="swish")(x)  # no operator of ONNX has it: this one stays a loop
    joined = layers.Concatenate(name="y")([y, z, w])
    return Net(shaken(keras.Model(x, joined)), {"x": floats(6, 3)}, ("y",))


def stacked_cells() -> Net:
    keras = keras3()
    layers = keras.layers
    x = keras.Input((5, 3), name="x")
    y = layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)], name="y")(x)
    return Net(shaken(keras.Model(x, y)), {"x": floats(5, 3)}, ("y",))


def pictures_over_time() -> Net:
    keras = keras3()
    layers = keras.layers
    x = keras.Input((4, 6, 6, 2), name="x")
    y = layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True)(x)
    y = layers.TimeDistributed(layers.Conv2D(2, 3))(y)
    y = layers.TimeDistributed(layers.Dense(3), name="y")(layers.TimeDistributed(layers.Flatten())(y))
    return Net(shaken(keras.Model(x, y)), {"x": floats(4, 6, 6, 2)}, ("y",))


def transformer() -> Net:
    keras = keras3()
    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = encoder_block(layers, layers.Embedding(30, 8, mask_zero=True)(tokens))
    y = layers.Dense(2, activation="softmax", name="y")(layers.GlobalAveragePooling1D()(encoder_block(layers, x)))
    rows = ids(30, 10)
    rows[3, 0] = 1  # a row of nothing but padding has no average
    return Net(shaken(keras.Model(tokens, y)), {"tokens": rows}, ("y",))


def encoder_block(layers: Any, x: Any) -> Any:
    attended = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([x, attended]))
    hidden = layers.Dense(8)(layers.Dense(16, activation="gelu")(x))
    return layers.LayerNormalization(epsilon=1e-6)(layers.Add()([x, hidden]))


def attentions() -> Net:
    keras = keras3()
    layers = keras.layers
    query, value = keras.Input((5, 8), name="query"), keras.Input((7, 8), name="value")
    outputs = [
        layers.Attention(use_scale=True, name="dot")([query, value]),
        layers.AdditiveAttention(name="sum")([query, value]),
        layers.GroupQueryAttention(4, 4, 2, name="grouped")(query, value),
        layers.MultiHeadAttention(2, 4, name="causal")(query, query, use_causal_mask=True),
    ]
    inputs = {"query": floats(5, 8), "value": floats(7, 8, seed=1)}
    return Net(shaken(keras.Model([query, value], outputs)), inputs, ("dot", "sum", "grouped", "causal"))


def stateful(folder: Path) -> Built:
    keras = keras3()
    x = keras.Input((4, 3), batch_size=5, name="x")
    keras.Model(x, keras.layers.LSTM(2, stateful=True, name="y")(x)).save(folder / "model.keras")
    return Built(folder / "model.keras", ())
