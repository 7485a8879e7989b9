"""Making ONNX Runtime load a model: as it is, with a lower IR version, or in another opset, in this order.

ONNX Runtime 1.31 has no kernels for operators before opset 7 and refuses IR versions newer than its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.version_converter
import onnxruntime

from converters.graph import open_session, save_model
from converters.onnx.old_broadcasts import FIRST_NUMPY_OPSET, spell_out_axes
from model_store.errors import ConversionError, SourceError, first_line

UPWARDS = (17, 21, 13)
"""Opsets for which ONNX Runtime has all kernels, tried in turn for an older model."""
DOWNWARDS = (26, 24, 23, 21, 17)
"""The same for a newer model, so that it loses none of its operators."""
BOUND_SIZE = 8
_LARGEST_IR = re.compile(r"max supported IR version: (\d+)")


@dataclass(frozen=True)
class Loadable:
    """A model that ONNX Runtime has loaded."""

    path: Path
    session: onnxruntime.InferenceSession
    changed: str | None = None
    """What had to be done to it, in words."""


def save_loadable(model: onnx.ModelProto, folder: Path, name: str) -> Loadable:
    """Writes the model as `model.onnx` into the new `folder`, changed no more than ONNX Runtime asks for.

    Raises `SourceError` naming the source by `name` when it is no valid model, `ConversionError` when ONNX Runtime
    can't run it.
    """
    path = save_model(model, folder)
    opened = _opened(path)
    if isinstance(opened, ConversionError) and (newest := _LARGEST_IR.search(opened.message)):
        model.ir_version = int(newest.group(1))
        opened = _saved_again(model, path)
    if not isinstance(opened, ConversionError):
        return Loadable(path, opened)
    _check(path, name)
    opset = _opset(model)
    for target in (each for each in DOWNWARDS if each < opset) if opset > max(UPWARDS) else UPWARDS:
        upgraded = _in_opset(model, target)
        again = _saved_again(upgraded, path) if upgraded is not None else None
        if again is not None and not isinstance(again, ConversionError):
            return Loadable(path, again, f"after ONNX's own conversion from opset {opset} to {target}")
    hint = "export it without that operator"
    if opset < UPWARDS[0]:
        hint = f"export it again, to opset {UPWARDS[0]} or newer"
    raise ConversionError(
        f"ONNX Runtime does not run the model as it is (opset {opset}: {_reason(opened)}), and ONNX can't bring it to "
        f"another opset: {hint}"
    )


def _opened(path: Path) -> onnxruntime.InferenceSession | ConversionError:
    try:
        return open_session(path)
    except ConversionError as error:
        return error


def _saved_again(model: onnx.ModelProto, path: Path) -> onnxruntime.InferenceSession | ConversionError:
    onnx.load_external_data_for_model(model, str(path.parent))  # saving large weights took them out of the model
    for old in path.parent.iterdir():
        old.unlink()
    save_model(model, path.parent)
    return _opened(path)


def _reason(refusal: ConversionError) -> str:
    """What ONNX Runtime says without its codes and paths."""
    return re.split(r" : |failed:", refusal.message)[-1].strip()


def _check(path: Path, name: str) -> None:
    try:
        onnx.checker.check_model(str(path))
    except Exception as error:  # ValidationError, and others for what it does not expect
        line = first_line(error)
        raise SourceError(f"source {name!r} is not a valid ONNX model: {line}") from error


def _opset(model: onnx.ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def _in_opset(model: onnx.ModelProto, target: int) -> onnx.ModelProto | None:
    """The model in another opset; None where ONNX has no adapter for one of its operators.

    The adapters of onnx 1.23 refuse symbolic dimensions, so these are numbers meanwhile.
    """
    bound = onnx.ModelProto.FromString(model.SerializeToString())
    for value in (*bound.graph.input, *bound.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = BOUND_SIZE
    if _opset(bound) < FIRST_NUMPY_OPSET:
        spell_out_axes(bound)
    try:
        upgraded = onnx.version_converter.convert_version(bound, target)
    except Exception:  # the converter says so in many ways
        return None
    del upgraded.graph.value_info[:]
    originals = {value.name: value for value in (*model.graph.input, *model.graph.output)}
    for value in (*upgraded.graph.input, *upgraded.graph.output):
        value.CopyFrom(originals[value.name])
    return upgraded
