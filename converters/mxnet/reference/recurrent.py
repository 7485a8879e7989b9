"""Recurrent layers, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op

States = tuple[np.ndarray, ...]
Step = Callable[[np.ndarray, np.ndarray, States], States]
"""(input part [N, G*H], state part [N, G*H], states) to the next states; the first is what the layer gives."""


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _lstm(given: np.ndarray, recurrent: np.ndarray, states: States) -> States:
    i, f, g, o = np.split(given + recurrent, 4, axis=1)
    cell = _sigmoid(f) * states[1] + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(cell), cell


def _gru(given: np.ndarray, recurrent: np.ndarray, states: States) -> States:
    (r, z, n), (hidden_r, hidden_z, hidden_n) = np.split(given, 3, axis=1), np.split(recurrent, 3, axis=1)
    update = _sigmoid(z + hidden_z)
    return ((1 - update) * np.tanh(n + _sigmoid(r + hidden_r) * hidden_n) + update * states[0],)


def _tanh(given: np.ndarray, recurrent: np.ndarray, states: States) -> States:
    return (np.tanh(given + recurrent),)


def _relu(given: np.ndarray, recurrent: np.ndarray, states: States) -> States:
    return (np.maximum(given + recurrent, 0),)


STEPS: dict[str, tuple[Step, int]] = {
    "lstm": (_lstm, 4),
    "gru": (_gru, 3),
    "rnn_tanh": (_tanh, 1),
    "rnn_relu": (_relu, 1),
}
"""Mode to its step, and how many gates it has."""


@numpy_op("RNN")
def rnn(
    node: Context,
    data: np.ndarray,
    parameters: np.ndarray,
    state: np.ndarray | None = None,
    state_cell: np.ndarray | None = None,
) -> list[np.ndarray]:
    """All layers; states that nothing feeds are zeros."""
    step, gates = STEPS[node.attrs.text("mode")]
    size, layers = node.attrs.integer("state_size"), node.attrs.integer("num_layers")
    directions = 2 if node.attrs.boolean("bidirectional", False) else 1
    zeros = np.zeros((layers * directions, data.shape[1], size), data.dtype)
    given = [zeros if each is None else each for each in (state, state_cell)][: 2 if gates == 4 else 1]
    weights = _weights(parameters, data.shape[2], gates * size, size, layers, directions)
    output, last = data, []
    for layer in range(layers):
        sides = []
        for direction in range(directions):
            states = tuple(each[layer * directions + direction] for each in given)
            side, ends = _direction(step, output, next(weights), states, backwards=direction == 1)
            sides.append(side)
            last.append(ends)
        output = np.concatenate(sides, axis=2)
    return [output, *(np.stack(ends) for ends in zip(*last, strict=True))]


def _direction(
    step: Step, data: np.ndarray, weights: tuple[np.ndarray, ...], states: States, *, backwards: bool
) -> tuple[np.ndarray, States]:
    """One direction of one layer: `[T, N, in]` to `[T, N, H]`, and the last states."""
    i2h, h2h, i2h_bias, h2h_bias = weights
    given = data @ i2h.T + i2h_bias
    outputs: list[np.ndarray] = [states[0]] * len(data)
    for at in range(len(data))[:: -1 if backwards else 1]:
        states = step(given[at], states[0] @ h2h.T + h2h_bias, states)
        outputs[at] = states[0]
    return np.stack(outputs), states


def _weights(
    vector: np.ndarray, inputs: int, rows: int, size: int, layers: int, directions: int
) -> Iterator[tuple[np.ndarray, ...]]:
    """For each layer and direction, its two weights and two biases out of the vector: all weights, then all biases."""
    at = 0

    def take(*shape: int) -> np.ndarray:
        nonlocal at
        at += int(np.prod(shape))
        return vector[at - int(np.prod(shape)) : at].reshape(shape)

    widths = [directions * size if layer else inputs for layer in range(layers) for _ in range(directions)]
    weights = [(take(rows, width), take(rows, size)) for width in widths]
    for pair in weights:
        yield (*pair, take(rows), take(rows))
