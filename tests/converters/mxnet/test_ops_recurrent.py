"""Recurrent layers: expected values are MXNet 1.9.1's, for inputs that are sines of whole numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.converters.mxnet.operators import check, f32, refusal, sines

DATA, PARAMETERS, STATE, CELL = 0, 7, 40, 50
"""Where the sines of each input start."""


def parameters(gates: int, layers: int = 1, directions: int = 1) -> np.ndarray:
    widths = [3] + [2 * directions] * (layers - 1)
    return sines(PARAMETERS, sum(directions * gates * 2 * (width + 2 + 2) for width in widths))


@pytest.mark.parametrize("batch_is_symbolic", [True, False])
def test_lstm_gives_all_steps_and_its_last_states(batch_is_symbolic: bool) -> None:
    steps = [[[0.1721982, 0.0057353], [0.0484389, 0.1045316]], [[0.4027992, -0.0032522], [0.0076717, 0.4062626]]]
    cell = [[[0.6763512, -0.0486591], [0.066439, 0.8826981]]]
    inputs = [sines(DATA, 2, 2, 3), parameters(4), sines(STATE, 1, 2, 2), sines(CELL, 1, 2, 2)]
    check(
        "RNN",
        inputs,
        [f32(steps), f32(steps[1:]), f32(cell)],
        constants=(1,),
        symbolic=batch_is_symbolic,
        mode="lstm",
        state_size=2,
        num_layers=1,
        state_outputs=True,
    )


@pytest.mark.parametrize(
    ("mode", "gates", "steps"),
    [
        (
            "gru",
            3,
            [[[0.7548123, -0.6243839], [-0.9187054, -0.7568816]], [[0.7599773, -0.8333153], [-0.9175217, -0.6778396]]],
        ),
        (
            "rnn_tanh",
            1,
            [[[0.5017734, -0.5629922], [-0.9957148, 0.7615864]], [[-0.2768249, -0.367468], [-0.819418, 0.1504256]]],
        ),
        ("rnn_relu", 1, [[[0.5516735, 0], [0, 0.9999816]], [[0.2944304, 0], [0, 0.7304424]]]),
    ],
)
def test_other_modes_have_one_state(mode: str, gates: int, steps: list[list[list[float]]]) -> None:
    inputs = [sines(DATA, 2, 2, 3), parameters(gates), sines(STATE, 1, 2, 2)]
    expected = [f32(steps), f32(steps[1:])]
    check("RNN", inputs, expected, constants=(1,), mode=mode, state_size=2, num_layers=1, state_outputs=True)


def test_stacked_bidirectional_layers_have_states_by_layer_then_direction() -> None:
    output = [
        [[0.1018377, -0.9599114, 0.0527686, 0.3572603], [-0.3009959, 0.3525371, -0.4148971, -0.5710617]],
        [[0.0854366, -0.9635994, 0.3892574, 0.3789524], [-0.3290567, 0.1679313, -0.4685612, -0.7343397]],
    ]
    last = [
        [[0.6273486, -0.9630075], [-0.9571599, 0.1420085]],
        [[-0.043887, -0.7683027], [0.0943244, -0.3396714]],
        [[0.0854366, -0.9635994], [-0.3290567, 0.1679313]],
        [[0.0527686, 0.3572603], [-0.4148971, -0.5710617]],
    ]
    inputs = [sines(DATA, 2, 2, 3), parameters(3, 2, 2), sines(STATE, 4, 2, 2)]
    attributes = {"mode": "gru", "state_size": 2, "num_layers": 2, "bidirectional": True, "p": 0.5}
    check("RNN", inputs, [f32(output), f32(last)], constants=(1,), state_outputs=True, **attributes)


def test_parameters_may_be_computed_from_inputs() -> None:
    output = [
        [[0.1582231, 0.1173592, -0.199295, -0.3520865], [-0.2615837, -0.0247963, 0.1357495, -0.3641814]],
        [[0.2560153, 0.3430735, -0.2625981, -0.0471175], [-0.4605374, 0.0961948, 0.2441222, -0.0656679]],
    ]
    inputs = [sines(DATA, 2, 2, 3), parameters(4, 2, 2), sines(STATE, 4, 2, 2), sines(CELL, 4, 2, 2)]
    attributes = {"mode": "lstm", "state_size": 2, "num_layers": 2, "bidirectional": True}
    check("RNN", inputs, f32(output), symbolic=False, **attributes)


ZERO_STATES = [[[0.3749336, -0.0028131], [-0.0023016, 0.2373675]], [[0.4359183, -0.0076719], [0.0044654, 0.3963831]]]


@pytest.mark.parametrize("states", [[], [None, None], [np.zeros((1, 1, 2), np.float32)] * 2])
def test_states_that_nothing_feeds_and_states_of_a_batch_of_one_stand_for_every_batch(
    states: list[np.ndarray | None],
) -> None:
    inputs = [sines(DATA, 2, 2, 3), parameters(4), *states]
    check("RNN", inputs, f32(ZERO_STATES), constants=(1, 2, 3), mode="lstm", state_size=2, num_layers=1)


def test_float64_stays_float64() -> None:
    expected = [[[0.3762931, -0.8234398], [-0.9529319, 0.875582]], [[-0.5334565, -0.3731754], [-0.7715485, 0.1455366]]]
    inputs = [each.astype(np.float64) for each in (sines(DATA, 2, 2, 3), parameters(1), np.zeros((1, 2, 2)))]
    check("RNN", inputs, np.array(expected), constants=(1,), mode="rnn_tanh", state_size=2, num_layers=1)


def test_parameters_of_layers_are_joined() -> None:
    check("_rnn_param_concat", [[1, 2], [3]], f32([1, 2, 3]), constants=(0, 1), dim=0)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"mode": "elman"}, "attribute 'mode': expected one of lstm, gru, rnn_tanh, rnn_relu, got 'elman'"),
        ({"projection_size": 2}, "attribute 'projection_size': ONNX's LSTM has no projection of the state"),
        ({"lstm_state_clip_min": -1, "lstm_state_clip_max": 1}, "a clipped cell state is not supported"),
        ({"use_sequence_length": True}, "MXNet 1.9.1 ignores the lengths on CPU and obeys them on GPU"),
        ({"num_layers": 2}, "2 layers of 2 states in 1 directions on 3 features don't have 56 parameters"),
        ({"num_layers": 10**15}, "don't have 56 parameters"),
        ({"state_size": 0}, "don't have 56 parameters"),
        ({"state_size": -2}, "don't have 56 parameters"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(attributes: dict[str, object], message: str) -> None:
    given = {"mode": "lstm", "state_size": 2, "num_layers": 1} | attributes
    assert message in refusal("RNN", [sines(DATA, 2, 2, 3), parameters(4)], constants=(1,), **given)
