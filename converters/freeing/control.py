"""Control flow on the way of the batch through a graph: branches of `If`, bodies and states of `Loop` and `Scan`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx
from onnx import TensorProto

from converters.freeing.axes import OTHER_SIZE, FrozenBatch, Traced
from converters.freeing.step import Step, attribute

Values = dict[str, Traced]
Follow = Callable[[onnx.GraphProto, Values], list[Traced]]
"""Rewrites a graph, given what is known in front of it, and says what is known of its outputs."""


def control(step: Step, follow: Follow) -> list[Traced]:
    """`If` has the outputs of its branches. States of `Loop` and `Scan` that begin frozen and come out with the
    batch are expanded, until none is left."""
    if step.node.op_type == "If":
        branches = [follow(graph, step.values) for graph in graphs(step.node)]
        return branches[0] if all(each.shape is not None for each in branches[0]) else branches[-1]
    body = graphs(step.node)[0]
    skipped = 2 if step.node.op_type == "Loop" else 0
    scanned = int(attribute(step.node, "num_scan_inputs", 0))
    states = len(step.node.input) - skipped - scanned
    for _ in range(states + 1):
        trial = onnx.GraphProto()
        trial.CopyFrom(body)
        try:
            results = follow(trial, _body_scope(step, body, skipped, states))[1 if skipped else 0 :]
        except FrozenBatch:
            if not _expand_states(step, body, skipped, states):
                raise
            continue
        frozen = [
            (place, axis)
            for place, result in enumerate(results[:states])
            if (axis := result.axis) is not None and step.input(skipped + place).axis is None
        ]
        if not frozen:
            body.CopyFrom(trial)
            return _control_outputs(step.node, results, states)
        for place, axis in frozen:
            step.expand(skipped + place, axis)
    raise FrozenBatch(f"the states of {step.node.op_type} {step.node.name!r} do not settle")


def _expand_states(step: Step, body: onnx.GraphProto, skipped: int, states: int) -> bool:
    """Expands the states that change from run to run and begin with the frozen batch on some axis."""
    expanded = False
    for place in range(skipped, skipped + states):
        result = body.output[place - skipped + (1 if skipped else 0)].name
        shape = step.input(place).shape
        if result == body.input[place].name or shape is None or step.input(place).axis is not None:
            continue
        axis = next((axis for axis, size in enumerate(shape) if size == step.batch), None)
        if axis is not None:
            step.expand(place, axis)
            expanded = True
    return expanded


def _body_scope(step: Step, body: onnx.GraphProto, skipped: int, states: int) -> Values:
    """What is known inside of a `Loop`'s or `Scan`'s body at its start."""
    scope = dict(step.values)
    names = [value.name for value in body.input]
    if skipped:
        scope[names[0]] = Traced(TensorProto.INT64, (), ())
        scope[names[1]] = Traced(TensorProto.BOOL, (), ())
    for place, name in enumerate(names[skipped:], skipped):
        scope[name] = replace(step.input(place), value=None, grown_value=None, constant=False)
    scanned = names[skipped + states :]
    axes = attribute(step.node, "scan_input_axes", None) or [0] * len(scanned)
    for name, axis in zip(scanned, axes, strict=True):
        scope[name] = _without_axis(scope[name], axis)
    return scope


def _control_outputs(node: onnx.NodeProto, results: Sequence[Traced], states: int) -> list[Traced]:
    axes = attribute(node, "scan_output_axes", None) or [0] * (len(results) - states)
    stacked = [_with_axis(each, axis) for each, axis in zip(results[states:], axes, strict=True)]
    return [replace(each, value=None, grown_value=None) for each in (*results[:states], *stacked)]


def _without_axis(traced: Traced, axis: int) -> Traced:
    if traced.shape is None or traced.grown is None:
        return Traced(traced.elem_type)
    place = axis % len(traced.shape)
    if traced.axis == place:
        raise FrozenBatch("a Scan runs over the batch")
    shape = traced.shape[:place] + traced.shape[place + 1 :]
    return Traced(traced.elem_type, shape, traced.grown[:place] + traced.grown[place + 1 :], traced.inner)


def _with_axis(traced: Traced, axis: int) -> Traced:
    """One output of all runs of a body, of a number of runs that is unknown here."""
    if traced.shape is None or traced.grown is None:
        return Traced(traced.elem_type)
    place = axis % (len(traced.shape) + 1)
    shape = (*traced.shape[:place], OTHER_SIZE, *traced.shape[place:])
    return Traced(traced.elem_type, shape, (*traced.grown[:place], OTHER_SIZE, *traced.grown[place:]), traced.inner)


def graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs inside of a node."""
    return [each.g for each in node.attribute if each.HasField("g")]
