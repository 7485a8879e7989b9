"""Recurrent layers: `RNN`, several layers in one operator, becomes one ONNX node a layer.

The parameters are one vector: all weights, then all biases, each ordered by layer, direction, and input before state.
ONNX wants three tensors for each layer, with the gates in another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value


@dataclass(frozen=True)
class _Mode:
    """How ONNX calls what MXNet's `mode` computes."""

    op: str
    gates: tuple[int, ...]
    """ONNX's gates, as places in MXNet's order."""
    activation: str | None = None
    linear_before_reset: int | None = None


MODES: Final[Mapping[str, _Mode]] = {
    "lstm": _Mode("LSTM", (0, 3, 1, 2)),
    "gru": _Mode("GRU", (1, 0, 2), linear_before_reset=1),
    "rnn_tanh": _Mode("RNN", (0,), "Tanh"),
    "rnn_relu": _Mode("RNN", (0,), "Relu"),
}
"""MXNet orders i, f, g, o and r, z, n; ONNX i, o, f, c and z, r, h."""


@dataclass(frozen=True)
class Layers:
    """Sizes of a stack of recurrent layers."""

    layers: int
    directions: int
    gates: int
    inputs: int
    """Of the first layer; the others read the states of all directions."""
    state: int

    def width(self, layer: int) -> int:
        """Features that a layer reads."""
        return self.directions * self.state if layer else self.inputs

    @property
    def rows(self) -> int:
        """Of a weight: all gates of one direction."""
        return self.gates * self.state

    def weights(self, layer: int) -> int:
        """Elements of a layer's weights."""
        return self.directions * self.rows * (self.width(layer) + self.state)

    @property
    def biases(self) -> int:
        """Elements of a layer's biases."""
        return self.directions * self.rows * 2


@mxnet_op("_rnn_param_concat")
def rnn_param_concat(node: OpNode, *data: Value) -> Value:
    """Joins the parameters of the layers; `dim` is 1 by default, and 0 wherever vectors are joined."""
    return node.g.emit("Concat", *data, axis=node.attrs.integer("dim", 1))


@mxnet_op("RNN", optional=("state", "state_cell"))
def rnn(
    node: OpNode, data: Value, parameters: Value, state: Value | None = None, state_cell: Value | None = None
) -> list[Value]:
    """`data[T, N, I]`, `parameters[..]`, `state[L*D, N, H]` (and `state_cell` for LSTM; zeros where None) to
    `[T, N, D*H]` and the last states, each `[L*D, N, H]`.

    `p` is dropout between the layers: nothing at inference. ONNX Runtime has no kernels for float64, which is computed
    in float32.
    """
    mode = _mode(node)
    _refuse_variants(node)
    sizes = layers_of(node, len(mode.gates), data, parameters)
    vector = node.g.folded(parameters)
    states = [value for value in (state, state_cell if mode.op == "LSTM" else None) if value is not None]
    output, last = data, []
    for layer, weights in enumerate(_weights(mode, sizes, vector)):
        initial = [_of_layer(value, layer, sizes, output) for value in states]
        output, *ends = _layer(mode, sizes, output, weights, initial)
        last.append(ends)
    joined = [node.g.emit("Concat", *ends, axis=0) for ends in zip(*last, strict=True)]
    return [output, *joined]


def _mode(node: OpNode) -> _Mode:
    name = node.attrs.text("mode")
    if name not in MODES:
        raise node.refuse(f"attribute 'mode': expected one of {', '.join(MODES)}, got {name!r}")
    return MODES[name]


def _refuse_variants(node: OpNode) -> None:
    if "projection_size" in node.attrs:
        raise node.refuse("attribute 'projection_size': ONNX's LSTM has no projection of the state; expected None")
    if "lstm_state_clip_min" in node.attrs or "lstm_state_clip_max" in node.attrs:
        raise node.refuse("attributes 'lstm_state_clip_min' and '.._max': a clipped cell state is not supported")
    if node.attrs.boolean("use_sequence_length", False):
        raise node.refuse(
            "attribute 'use_sequence_length': MXNet 1.9.1 ignores the lengths on CPU and obeys them on GPU, so the "
            "model has no one meaning; export it without, with SequenceMask and SequenceLast around it"
        )


def layers_of(node: OpNode, gates: int, data: Value, parameters: Value) -> Layers:
    """The sizes that attributes and the length of the parameters give; refuses those that do not fit together."""
    attrs = node.attrs
    state, layers = attrs.integer("state_size"), attrs.integer("num_layers")
    directions = 2 if attrs.boolean("bidirectional", False) else 1
    (length,) = parameters.shape
    if not isinstance(length, int):
        raise node.refuse(f"the parameters must have a known length, got {parameters}")
    rows = directions * gates * state
    later = (layers - 1) * rows * (directions * state + state + 2)
    inputs = (length - later) // rows - state - 2 if state > 0 and layers > 0 else 0
    sizes = Layers(layers, directions, gates, inputs, state)
    width = data.shape[2]
    fits = inputs > 0 and later + sizes.weights(0) + sizes.biases == length
    if not fits or (isinstance(width, int) and width != inputs):
        raise node.refuse(
            f"{layers} layers of {state} states in {directions} directions on {width} features don't have {length} "
            "parameters"
        )
    return sizes


def _weights(mode: _Mode, sizes: Layers, vector: Value) -> Iterator[tuple[Value, Value, Value]]:
    """For each layer ONNX's `W[D, G*H, in]`, `R[D, G*H, H]` and `B[D, 2*G*H]`."""
    directions, rows, state = sizes.directions, sizes.rows, sizes.state
    at, biases_at = 0, sum(map(sizes.weights, range(sizes.layers)))
    for layer in range(sizes.layers):
        width, count = sizes.width(layer), sizes.weights(layer)
        both = vector.g.reshape(vector.slice(0, at, at + count), (directions, count // directions))
        bias = vector.slice(0, biases_at, biases_at + sizes.biases)
        yield (
            _ordered(mode, both.slice(1, 0, rows * width), (directions, 1, sizes.gates, state, width)),
            _ordered(mode, both.slice(1, rows * width), (directions, 1, sizes.gates, state, state)),
            vector.g.reshape(_ordered(mode, bias, (directions, 2, sizes.gates, state, 1)), (directions, 2 * rows)),
        )
        at, biases_at = at + count, biases_at + sizes.biases


def _ordered(mode: _Mode, value: Value, shape: tuple[int, int, int, int, int]) -> Value:
    """`[direction, part, gate, state, width]` with the gates in ONNX's order, as `[direction, rows, width]`."""
    g = value.g
    gates = g.emit("Gather", g.reshape(value, shape), g.ints(*mode.gates), axis=2)
    directions, parts, count, state, width = shape
    return g.folded(g.reshape(gates, (directions, parts * count * state, width)))


def _of_layer(value: Value, layer: int, sizes: Layers, data: Value) -> Value:
    """The layer's rows of an initial state `[L*D, N, H]`; a batch of 1 stands for every batch."""
    rows = value.slice(0, layer * sizes.directions, (layer + 1) * sizes.directions)
    if rows.shape[1] == 1 and data.shape[1] != 1:
        return value.g.emit("Expand", rows, value.g.sizes((sizes.directions, data.shape[1], sizes.state)))
    return rows


def _layer(
    mode: _Mode, sizes: Layers, data: Value, weights: tuple[Value, Value, Value], initial: list[Value]
) -> tuple[Value, ...]:
    """`[T, N, in]` to `[T, N, D*H]`, and the last states `[D, N, H]`."""
    narrow = np.dtype(np.float32) if data.dtype == np.float64 else data.dtype
    inputs = [value.cast(narrow) for value in (data, *weights)]
    directions = sizes.directions
    output, *last = data.g.emit_many(
        mode.op,
        *inputs,
        None,
        *[value.cast(narrow) for value in initial],
        outputs=3 if mode.op == "LSTM" else 2,
        hidden_size=sizes.state,
        direction="bidirectional" if directions == 2 else "forward",
        activations=[mode.activation] * directions if mode.activation else None,
        linear_before_reset=mode.linear_before_reset,
    )
    steps, batch = data.shape[:2]
    beside = output.squeeze(1) if directions == 1 else output.transpose(0, 2, 1, 3)
    joined = data.g.reshape(beside, (steps, batch, directions * sizes.state))
    return tuple(value.cast(data.dtype) for value in (joined, *last))
