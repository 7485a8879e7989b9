"""Recurrent layers as ONNX's operators, against the loops of Keras itself, over masks of every form."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from converters.base import Conversion, ConversionOptions, load_converter
from converters.candidates import runs_of
from converters.keras.call import flat
from tests.sources.keras_writing import floats, keras2, keras3, shaken

pytestmark = pytest.mark.filterwarnings("ignore")

MASKED = np.array(
    [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 1, 1],
        [0, 1, 0, 1, 0, 1],
        [0, 0, 0, 0, 0, 0],
    ],
    dtype=np.float32,
)


def alternatives(model: Any, folder: Path, file: str = "m.keras") -> Iterator[Conversion]:
    model.save(folder / file)
    return load_converter("keras").alternatives(folder / file, ConversionOptions(), folder)


def operators(conversion: Conversion) -> set[str]:
    return {node.op_type for node in onnx.load(conversion.model).graph.node}


def assert_equal(conversion: Conversion, inputs: dict[str, np.ndarray]) -> None:
    answers, expected = runs_of(conversion, trusted=False)["serving_default"](inputs), conversion.reference(inputs)
    assert set(answers) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(answers[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def layers_of(library: Any) -> list[Any]:
    """One layer for every way that masks come through."""
    layers = library.layers
    return [
        layers.LSTM(3, return_sequences=True, return_state=True, name="lstm"),
        layers.LSTM(3, go_backwards=True, use_bias=False, name="backwards"),
        layers.GRU(3, return_sequences=True, go_backwards=True, name="gru"),
        layers.GRU(3, reset_after=False, recurrent_activation="hard_sigmoid", return_state=True, name="old"),
        layers.SimpleRNN(3, return_sequences=True, activation="relu", name="simple"),
        layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both"),
    ]


@pytest.mark.parametrize("library", [keras3, keras2], ids=["keras-3", "keras-2"])
def test_masked_layers_are_operators_and_answer_as_the_loops(tmp_path: Path, library: Any) -> None:
    keras = library()
    x = keras.Input((6, 2), name="x")
    masked = keras.layers.Masking(0.0)(x)
    outputs = flat([layer(masked) for layer in layers_of(keras)])
    model = shaken(keras.Model(x, outputs))
    rows = floats(6, 2) * MASKED[:, :, None]
    fused = next(alternatives(model, tmp_path, "m.keras" if library is keras3 else "m.h5"))
    assert {"LSTM", "GRU", "RNN"} < operators(fused)
    assert "Loop" not in operators(fused)
    assert_equal(fused, {"x": rows})


def test_layers_that_onnx_has_no_operator_for_stay_loops(tmp_path: Path) -> None:
    keras = keras3()
    layers = keras.layers
    x = keras.Input((None, 2), name="x")
    outputs = [
        layers.RNN(layers.LSTMCell(3), name="cell")(x),
        layers.GRU(3, activation="swish", name="swish")(x),
        layers.LSTM(3, name="plain")(x),
    ]
    fused, loops = alternatives(shaken(keras.Model(x, outputs)), tmp_path)
    assert {"Loop", "LSTM"} < operators(fused)
    assert "GRU" not in operators(fused)
    for steps in (1, 7):
        assert_equal(fused, {"x": floats(steps, 2)})
        assert_equal(loops, {"x": floats(steps, 2)})


def test_a_model_without_recurrent_layers_is_converted_once(tmp_path: Path) -> None:
    keras = keras3()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert len(list(alternatives(model, tmp_path))) == 1
