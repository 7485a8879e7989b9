"""PyTorch's two ONNX exporters: from a program of torch.export, and from TorchScript.

Each gives a graph with public names; whether it computes the same is for the parity gate to say.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from converters.graph import alias_outputs, rename, save_model
from converters.pytorch.program import Program, without_constants
from model_store.errors import ConversionError
from model_store.manifest import TensorSpec

OPSET = 20
"""Recent, and implemented in full by ONNX Runtime 1.22 and later."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MISSING = re.compile(r"No (?:ONNX )?(?:decompositions|function|dispatch)[^\n]*?(?:for|found)[^\n]*")
_TARGET = re.compile(r"<OpOverload\(op='([\w.]+)', overload='(\w+)'\)>|torch\.ops\.([\w.]+)|operator '?([\w:]+)'?")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The exporters log what they skip, warn of their own deprecations and print graphs; none is the user's concern."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch._export", "torch.fx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def export_program(program: Program, folder: Path) -> Path:
    """Writes the program as ONNX into a new folder, with its public names.

    Raises `ConversionError` that names the operator where the exporter has none for it.
    """
    import torch

    try:
        with quiet():
            exported = without_constants(program)
            model = torch.onnx.export(
                exported, dynamo=True, opset_version=OPSET, verbose=False, external_data=False
            ).model_proto
    except Exception as error:  # the exporter raises many kinds
        raise ConversionError(f"PyTorch's ONNX exporter fails: {why(error)}") from error
    return _finish(model, program.inputs, list(program.outputs.values()), folder, program.signature.inputs)


def export_script(
    script: Any,
    arguments: tuple[Any, ...],
    inputs: Sequence[TensorSpec],
    outputs: Mapping[str, int],
    folder: Path,
) -> Path:
    """Writes a TorchScript module as ONNX into a new folder through the exporter that reads TorchScript graphs.

    `arguments` are those of one call; `inputs` and `outputs` (name -> rank) are in the order in which they flatten.
    Raises `ConversionError` that names the operator where the exporter has none for it.
    """
    import torch

    axes = {spec.name: [axis for axis, size in enumerate(spec.shape) if size == -1] for spec in inputs}
    axes |= {name: list(range(rank)) for name, rank in outputs.items()}
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
                output_names=list(outputs),
                dynamic_axes={name: each for name, each in axes.items() if each},
            )
        model = onnx.load_from_string(buffer.getvalue())
    except Exception as error:
        raise ConversionError(f"PyTorch's ONNX exporter for TorchScript fails: {why(error)}") from error
    return _finish(model, [spec.name for spec in inputs], list(outputs), folder, inputs)


def _finish(
    model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str], folder: Path, specs: Sequence[TensorSpec]
) -> Path:
    graph_inputs = [value.name for value in model.graph.input]
    if len(graph_inputs) == len(inputs):
        rename(model, dict(zip(graph_inputs, inputs, strict=True)))
    else:
        _restore_inputs(model, graph_inputs, specs)
    if len(model.graph.output) != len(outputs):
        raise ConversionError(
            f"the ONNX graph has {len(model.graph.output)} outputs, and the model {len(outputs)}: {', '.join(outputs)}"
        )
    alias_outputs(model, outputs)
    return save_model(model, folder)


def _restore_inputs(model: onnx.ModelProto, present: Sequence[str], specs: Sequence[TensorSpec]) -> None:
    """Inputs that nothing uses are dropped by the exporters; callers still send them."""
    names = [spec.name for spec in specs]
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


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    from model_store.datatypes import DTYPES

    element = onnx.helper.np_dtype_to_tensor_dtype(DTYPES[spec.datatype])
    shape = [size if size >= 0 else f"{spec.name}_{axis}" for axis, size in enumerate(spec.shape)]
    return onnx.helper.make_tensor_value_info(spec.name, element, shape)


def why(error: BaseException) -> str:
    """The reason at the bottom of a chain of errors, in one line; the operator's name where one is missing."""
    texts = []
    link: BaseException | None = error
    while link is not None and len(texts) < 8:
        texts.append(_COLOUR.sub("", str(link)).strip() or type(link).__name__)
        link = link.__cause__ or link.__context__
    for text in reversed(texts):
        if missing := _MISSING.search(text):
            target = _TARGET.search(text)
            name = next((each for each in target.groups() if each), "") if target else ""
            return f"it has no operator for {name}" if name else missing[0][:300]
    line = next(line.strip() for line in texts[-1].splitlines() if line.strip())
    if unsupported := re.search(r"operator '([\w:]+)'", line):
        return f"it has no operator for {unsupported[1]}"
    return line[:300]
