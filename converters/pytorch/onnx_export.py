"""PyTorch's two ONNX exporters: from a program of torch.export, and from TorchScript.

Each gives a graph with public names; whether it computes the same is for the parity gate to say.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx

from converters.graph import alias_outputs, rename, save_model, set_shape
from converters.pytorch.fused_attention import without_fused
from converters.pytorch.program import Program, without_constants
from converters.pytorch.symbolics import register_symbolics
from model_store.errors import ConversionError
from model_store.manifest import TensorSpec

OPSET = 20
"""Recent, and implemented in full by ONNX Runtime 1.22 and later."""
NO_OPERATOR = "it has no operator for"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MISSING = re.compile(r"No (?:ONNX )?(?:decompositions|function|dispatch)[^\n]*?(?:for|found)[^\n]*")
_TARGET = re.compile(r"<OpOverload\(op='([\w.]+)', overload='(\w+)'\)>|torch\.ops\.([\w.]+)|operator '?([\w:]+)'?")


@contextlib.contextmanager
def quiet(*, prints: bool = False) -> Iterator[None]:
    """The exporters log what they skip, warn of their own deprecations and print graphs; none is the user's concern.

    `prints` lets through what is printed, for use beside other threads.
    """
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch._export", "torch.fx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        output = contextlib.nullcontext() if prints else contextlib.redirect_stdout(io.StringIO())
        with warnings.catch_warnings(), output:
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def export_program(
    program: Program,
    folder: Path,
    *,
    inputs: Sequence[TensorSpec] | None = None,
    outputs: Sequence[str] | None = None,
) -> Path:
    """Writes the program as ONNX into a new folder, with its own names or, in its own order, those that are given.

    Raises `ConversionError` that names the operator where the exporter has none for it.
    """
    import torch

    try:
        with quiet():
            exported = without_fused(without_constants(program))
            model = torch.onnx.export(
                exported, dynamo=True, opset_version=OPSET, verbose=False, external_data=False
            ).model_proto
    except Exception as error:  # the exporter raises many kinds
        raise ConversionError(f"PyTorch's ONNX exporter fails: {why(error)}") from error
    own = program.signature.inputs
    specs = own if inputs is None else inputs
    _restore_inputs(model, own)
    for value, spec in zip(model.graph.input, own, strict=True):
        _fix_sizes(value, spec)
    rename(model, {mine.name: spec.name for mine, spec in zip(own, specs, strict=True)})
    return _finish(model, list(program.outputs.values()) if outputs is None else outputs, folder)


def export_script(
    script: Any,
    arguments: tuple[Any, ...],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    folder: Path,
) -> Path:
    """Writes a TorchScript module as ONNX into a new folder through the exporter that reads TorchScript graphs.

    `arguments` are those of one call; `inputs` and `outputs` are in the order in which they flatten.
    Raises `ConversionError` that names the operator where the exporter has none for it.
    """
    import torch

    register_symbolics()
    axes = {spec.name: [axis for axis, size in enumerate(spec.shape) if size == -1] for spec in (*inputs, *outputs)}
    buffer = io.BytesIO()
    try:
        with quiet():
            torch.onnx.export(
                script,
                arguments,
                buffer,
                dynamo=False,
                opset_version=OPSET,
                input_names=[spec.name for spec in inputs],
                output_names=[spec.name for spec in outputs],
                dynamic_axes={name: each for name, each in axes.items() if each},
            )
        model = onnx.load_from_string(buffer.getvalue())
    except Exception as error:
        raise ConversionError(f"PyTorch's ONNX exporter for TorchScript fails: {why(error)}") from error
    _restore_inputs(model, inputs)
    for value, spec in zip(model.graph.output, outputs, strict=False):
        _state_sizes(value, spec)
    return _finish(model, [spec.name for spec in outputs], folder)


def _finish(model: onnx.ModelProto, outputs: Sequence[str], folder: Path) -> Path:
    if len(model.graph.output) != len(outputs):
        raise ConversionError(
            f"the ONNX graph has {len(model.graph.output)} outputs, and the model {len(outputs)}: {', '.join(outputs)}"
        )
    alias_outputs(model, outputs)
    return save_model(model, folder)


def _restore_inputs(model: onnx.ModelProto, specs: Sequence[TensorSpec]) -> None:
    """Gives the graph all inputs, in order: those that nothing uses are dropped by the exporters, and callers still
    send them."""
    names, present = [spec.name for spec in specs], [value.name for value in model.graph.input]
    if len(present) == len(names):
        # An output that is an input takes its name, and the input another.
        clashing = set(names).difference(present) & {value.name for value in model.graph.output}
        rename(model, {name: f"{name}__inner" for name in clashing})
        rename(model, dict(zip(present, names, strict=True)))
        return
    unknown = [name for name in present if name not in names]
    if unknown:
        raise ConversionError(f"the ONNX graph has an input {unknown[0]!r} that is none of {', '.join(names)}")
    values = {value.name: value for value in model.graph.input}
    for spec in specs:
        if spec.name not in values:
            values[spec.name] = _value_info(spec)
    ordered = [values[name] for name in names]
    del model.graph.input[:]
    model.graph.input.extend(ordered)


def _fix_sizes(value: onnx.ValueInfoProto, spec: TensorSpec) -> None:
    """The exporter (torch 2.13) writes a size that torch.export has fixed, though it was asked for as dynamic, as a
    symbol that is called '7'."""
    for dim, size in zip(value.type.tensor_type.shape.dim, spec.shape, strict=True):
        if size >= 0 and dim.dim_value != size:
            dim.dim_value = size


def _state_sizes(value: onnx.ValueInfoProto, spec: TensorSpec) -> None:
    """Sizes of an output as they were measured; the exporter loses them behind an If or a Loop."""
    known = value.type.tensor_type
    if not known.HasField("shape") or len(known.shape.dim) != len(spec.shape):
        set_shape(value, [size if size >= 0 else f"{spec.name}_{axis}" for axis, size in enumerate(spec.shape)])
    else:
        _fix_sizes(value, spec)


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    from model_store.datatypes import DTYPES

    element = onnx.helper.np_dtype_to_tensor_dtype(DTYPES[spec.datatype])
    shape = [size if size >= 0 else f"{spec.name}_{axis}" for axis, size in enumerate(spec.shape)]
    return onnx.helper.make_tensor_value_info(spec.name, element, shape)


def most_telling(failures: Sequence[ConversionError]) -> ConversionError:
    """The failure that names a missing operator, else the first."""
    return next((each for each in failures if NO_OPERATOR in each.message), failures[0])


def why(error: BaseException) -> str:
    """The reason at the bottom of a chain of errors, in one line; the operator's name where one is missing."""
    texts: list[str] = []
    link: BaseException | None = error
    while link is not None and len(texts) < 8:
        texts.append(_COLOUR.sub("", str(link)).strip() or type(link).__name__)
        link = link.__cause__ or link.__context__
    for text in reversed(texts):
        if missing := _MISSING.search(text):
            target = _TARGET.search(text)
            name = next((each for each in target.groups() if each), "") if target else ""
            return f"{NO_OPERATOR} {name}" if name else missing[0][:300]
    line = next(line.strip() for line in texts[-1].splitlines() if line.strip())
    if unsupported := re.search(r"operator '([\w:]+)'", line):
        return f"{NO_OPERATOR} {unsupported[1]}"
    return line[:300]
