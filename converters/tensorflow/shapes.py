"""Shapes that a graph leaves open: taken from the config for inputs, found by running for outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from converters.base import Arrays, Range, Run
from converters.samples import INNER_SIZES, Samples
from converters.tensorflow.signatures import GraphSignature
from model_store.errors import ConfigError, ConversionError
from model_store.manifest import Signature, TensorSpec


def with_asked_shapes(
    graphs: Mapping[str, GraphSignature], asked: Sequence[TensorSpec] | None
) -> dict[str, GraphSignature]:
    """The signatures with the config's shapes of inputs; one of a name stands for that input wherever it is.

    Raises `ConfigError` for an unknown name or another datatype, `ConversionError` for a rank that nobody says.
    """
    given = {spec.name: spec for spec in asked or ()}
    known = {spec.name: None for graph in graphs.values() for spec in graph.signature.inputs}
    for name in given:
        if name not in known:
            raise ConfigError(f"inputs: {name!r} is no input of the model, which has {', '.join(known)}")
    return {name: _with_shapes(graph, given) for name, graph in graphs.items()}


def _with_shapes(graph: GraphSignature, given: Mapping[str, TensorSpec]) -> GraphSignature:
    inputs = tuple(given.get(spec.name, spec) for spec in graph.signature.inputs)
    for own, spec in zip(graph.signature.inputs, inputs, strict=True):
        if own.datatype != spec.datatype:
            raise ConfigError(f"inputs: {own.name!r} is {own.datatype} in the model, not {spec.datatype}")
        if spec.shape is None:
            raise ConversionError(
                f"input {own.name!r} of signature {graph.name!r} has no rank; "
                f"say its shape with `inputs: [{{name: {own.name}, datatype: {own.datatype}, shape: [-1, ...]}}]`"
            )
    return replace(graph, signature=msgspec.structs.replace(graph.signature, inputs=inputs))


def with_known_ranks(signature: Signature, run: Run, ranges: dict[str, Range], choices: Arrays) -> Signature:
    """The signature with the shapes of outputs of unknown rank as runs at two batches show them: a size that
    changes is dynamic. Raises `ConversionError` when TensorFlow accepts no size tried."""
    if all(spec.shape is not None for spec in signature.outputs):
        return signature
    failure: Exception | None = None
    for sizes in INNER_SIZES:
        samples = Samples(signature, ranges, choices=choices, inner_sizes=sizes)
        try:
            first, second = run(samples.draw(2, 0)), run(samples.draw(3, 1))
        except Exception as error:  # a framework's refusal of a size has no type of its own
            failure = error
            continue
        outputs = []
        for spec in signature.outputs:
            one, other = first[spec.name].shape, second[spec.name].shape
            if len(one) != len(other):
                raise ConversionError(
                    f"output {spec.name!r} has the rank {len(one)} in one run and {len(other)} in another"
                )
            shape = tuple(size if size == again else -1 for size, again in zip(one, other, strict=True))
            outputs.append(spec if spec.shape is not None else TensorSpec(spec.name, spec.datatype, shape))
        return Signature(signature.inputs, tuple(outputs))
    raise ConversionError(f"the rank of an output is unknown, and no input tried shows it: {failure}")
