"""LSTM, GRU and SimpleRNN as ONNX's own operators, instead of the loops over time that Keras makes of them.

While a model is traced inside `fused_layers()`, a recurrent layer leaves one operator in the graph, whose token says
what it is; `recurrent_ops.py` turns that into ONNX. It can't run in TensorFlow, and never does. Masks of any form are
kept: steps that count are moved to the front, and what comes out is moved back to where it belongs. Layers that the
operators can't express (other activations, float16, dropout between steps) are left as loops.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

MARK = "onegate recurrent "
"""What the token of a fused layer's operator begins with."""
KINDS = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
"""Layer -> number of its gates."""
GATE_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "SimpleRNN": (0,)}
"""Where ONNX's gates lie among Keras's: i f c o -> i o f c."""
ACTIVATIONS: dict[str, tuple[str, float | None, float | None]] = {
    "tanh": ("Tanh", None, None),
    "sigmoid": ("Sigmoid", None, None),
    "relu": ("Relu", None, None),
    "softsign": ("Softsign", None, None),
    "softplus": ("Softplus", None, None),
    "linear": ("Affine", 1.0, 0.0),
}
"""Keras's activation -> ONNX's, with alpha and beta."""
HARD_SIGMOID = {"keras": ("HardSigmoid", 1 / 6, 0.5), "tf_keras": ("HardSigmoid", 0.2, 0.5)}
"""Keras 3 made it steeper."""

Outputs = tuple[Any, Any, list[Any]]
"""The last output float[B, H], all outputs float[B, T, H], the states float[B, H]."""


def has_recurrent_layers(model: Any) -> bool:
    """Whether any layer, however nested, is one that ONNX has an operator for."""
    return any(type(layer).__name__ in KINDS for layer in model._flatten_layers())


@contextlib.contextmanager
def fused_layers() -> Iterator[None]:
    """While it lasts, recurrent layers are traced as one operator each. For one thread at a time."""
    with contextlib.ExitStack() as stack:
        import keras

        for name in KINDS:
            stack.enter_context(_replaced(getattr(keras.layers, name), "inner_loop", _inner_loop))
        if "tf_keras" in sys.modules:
            import tf_keras

            for name in KINDS:
                stack.enter_context(_replaced(getattr(tf_keras.layers, name), "call", _call))
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def _inner_loop(original: Any) -> Any:
    """For Keras 3's `RNN.inner_loop(sequences, initial_state, mask, training)`."""

    def inner_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: Any = False) -> Any:
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        layer = _FusedLayer.of(self, "keras")
        if layer is None or not _fits(sequences, mask):
            return original(self, sequences, initial_state, mask, training=training)
        return layer.outputs(sequences, initial_state, mask)

    return inner_loop


def _call(original: Any) -> Any:
    """For `call(inputs, mask, training, initial_state)` of the layers of tf_keras."""

    def call(self: Any, inputs: Any, mask: Any = None, training: Any = None, initial_state: Any = None) -> Any:
        first_mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        layer = _FusedLayer.of(self, "tf_keras")
        if layer is None or isinstance(inputs, (list, tuple)) or not _fits(inputs, first_mask) or self.time_major:
            return original(self, inputs, mask=mask, training=training, initial_state=initial_state)
        sequences, states, _ = self._process_inputs(inputs, initial_state, None)
        last, outputs, states = layer.outputs(sequences, states, first_mask)
        result = outputs if self.return_sequences else last
        return [result, *states] if self.return_state else result

    return call


def _fits(sequences: Any, mask: Any) -> bool:
    import tensorflow

    return (
        tensorflow.is_tensor(sequences)
        and sequences.dtype == tensorflow.float32
        and len(sequences.shape) == 3
        and (mask is None or len(mask.shape) == 2)
    )


@dataclass(frozen=True)
class _FusedLayer:
    """A layer that ONNX's operator computes."""

    layer: Any
    kind: str
    activations: tuple[tuple[str, float | None, float | None], ...]

    @classmethod
    def of(cls, layer: Any, library: str) -> _FusedLayer | None:
        kind, cell = type(layer).__name__, layer.cell
        activations = [cell.activation] if kind == "SimpleRNN" else [cell.recurrent_activation, cell.activation]
        if kind == "LSTM":
            activations.append(cell.activation)
        names = [getattr(function, "__name__", "") for function in activations]
        known = {**ACTIVATIONS, "hard_sigmoid": HARD_SIGMOID[library]}
        if any(name not in known for name in names) or getattr(layer, "stateful", False):
            return None
        return cls(layer, kind, tuple(known[name] for name in names))

    def outputs(self, sequences: Any, states: Any, mask: Any) -> Outputs:
        """What the layer's own loop would give for `sequences` float[B, T, I] and `mask` bool[B, T]."""
        import tensorflow as tf

        states = [tf.convert_to_tensor(state) for state in (states if isinstance(states, (list, tuple)) else [states])]
        if self.layer.go_backwards:
            sequences = tf.reverse(sequences, [1])
            mask = None if mask is None else tf.reverse(mask, [1])
        if mask is None:
            everything, finals = self._operator(sequences, states, None)
            return finals[0], everything if self.layer.return_sequences else finals[0][:, None], finals
        return self._masked(sequences, states, tf.cast(mask, tf.bool))

    def _masked(self, sequences: Any, states: list[Any], mask: Any) -> Outputs:
        import tensorflow as tf

        count = tf.cumsum(tf.cast(mask, tf.int32), axis=1)  # int32[B, T]: steps that counted up to here
        total = count[:, -1]
        everything, finals = self._operator(_counted_first(sequences, mask), states, tf.maximum(total, 1))
        any_step = (total > 0)[:, None]
        kept = [tf.where(any_step, final, state) for final, state in zip(finals, states, strict=True)]
        zeroed = self.layer.zero_output_for_mask
        last = tf.where(mask[:, -1:] if zeroed else any_step, finals[0], tf.zeros_like(finals[0]))
        if not self.layer.return_sequences:
            return last, last[:, None], kept
        spread = tf.gather(everything, tf.maximum(count - 1, 0), axis=1, batch_dims=1)
        shown = mask if zeroed else count > 0
        return last, tf.where(shown[:, :, None], spread, tf.zeros_like(spread)), kept

    def _operator(self, sequences: Any, states: list[Any], lengths: Any) -> tuple[Any, list[Any]]:
        """All outputs float[B, T, H] (those beyond a row's length mean nothing), and the states at its end."""
        import tensorflow as tf

        units = self.layer.cell.units
        token = {
            "kind": self.kind,
            "units": units,
            "activations": self.activations,
            "linear_before_reset": int(bool(getattr(self.layer.cell, "reset_after", False))),
            "lengths": lengths is not None,
        }
        inputs = [tf.transpose(sequences, [1, 0, 2]), *self._weights(), *states]
        values = tf.raw_ops.PyFunc(
            input=[*inputs, *([] if lengths is None else [lengths])],
            token=MARK + json.dumps(token),
            Tout=[tf.float32] * (1 + len(states)),
        )
        batch, steps = sequences.shape[0], sequences.shape[1]
        everything = tf.transpose(tf.ensure_shape(values[0], [steps, batch, units]), [1, 0, 2])
        return everything, [tf.ensure_shape(value, [batch, units]) for value in values[1:]]

    def _weights(self) -> Sequence[Any]:
        """W float[1, gates * H, I], R float[1, gates * H, H] and B float[1, 2 * gates * H], gates in ONNX's order."""
        import tensorflow as tf

        cell, gates = self.layer.cell, KINDS[self.kind]
        kernel, recurrent = tf.convert_to_tensor(cell.kernel), tf.convert_to_tensor(cell.recurrent_kernel)
        zeros = tf.zeros([gates * cell.units])
        bias = tf.convert_to_tensor(cell.bias) if cell.use_bias else zeros
        both = bias if len(bias.shape) == 2 else tf.stack([bias, zeros])
        ordered = [self._in_order(weight) for weight in (kernel, recurrent, both)]
        return (
            tf.transpose(ordered[0])[None],
            tf.transpose(ordered[1])[None],
            tf.reshape(ordered[2], [1, 2 * gates * cell.units]),
        )

    def _in_order(self, weight: Any) -> Any:
        import tensorflow as tf

        parts = tf.split(weight, KINDS[self.kind], axis=-1)
        return tf.concat([parts[gate] for gate in GATE_ORDER[self.kind]], axis=-1)


def _counted_first(sequences: Any, mask: Any) -> Any:
    """The steps of each row that the mask lets through, in order, then the others."""
    import tensorflow as tf

    steps = tf.shape(mask)[1]
    position = tf.range(steps)[None]
    rank = tf.where(mask, steps - position, -position)  # the larger, the sooner; all different
    order = tf.math.top_k(rank, k=steps).indices
    return tf.gather(sequences, order, axis=1, batch_dims=1)
