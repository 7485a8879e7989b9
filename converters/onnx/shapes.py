"""Outputs without a declared shape get one, because ONNX Runtime shows them as scalars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from converters.base import Range
from converters.graph import open_session, read_signature, save_model, set_shape
from converters.parity import INNER_SIZES, runner
from converters.samples import Samples
from model_store.errors import ConversionError

BATCHES = (2, 3)


def declare_outputs(model: Path, ranges: Mapping[str, Range]) -> Path:
    """Declares the outputs whose number of dimensions neither the file nor ONNX Runtime knows, by running the model
    at two batches; sizes that differ are dynamic. Returns the file, written anew where something was missing.

    Raises `ConversionError` for an input without a shape, and when the model does not run.
    """
    proto = onnx.load(model, load_external_data=False)
    for value in proto.graph.input:
        if not value.type.tensor_type.HasField("shape"):
            raise ConversionError(
                f"input {value.name!r} declares no shape: say it with `inputs:` (or --input {value.name}:FP32:-1,3)"
            )
    session = open_session(model)
    inferred = {arg.name for arg in session.get_outputs() if arg.shape}
    missing = [
        value.name
        for value in proto.graph.output
        if value.name not in inferred and not value.type.tensor_type.HasField("shape")
    ]
    if not missing:
        return model
    samples = Samples(read_signature(session), ranges, inner_sizes=INNER_SIZES[0])
    try:
        first, second = (runner(session)(samples.draw(batch, seed)) for seed, batch in enumerate(BATCHES))
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        line = str(error).strip().splitlines()[0]
        raise ConversionError(f"ONNX Runtime does not run the model on random inputs: {line}") from error
    proto = onnx.load(model)
    for value in proto.graph.output:
        if value.name in missing:
            set_shape(value, _common(first[value.name], second[value.name], value.name))
    folder = model.parent
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    return save_model(proto, folder)


def _common(first: np.ndarray, second: np.ndarray, name: str) -> list[int | str]:
    if first.ndim != second.ndim:
        raise ConversionError(
            f"output {name!r} has {first.ndim} dimensions for one batch and {second.ndim} for another"
        )
    shape: list[int | str] = []
    for axis, (one, other) in enumerate(zip(first.shape, second.shape, strict=True)):
        if one == other:
            shape.append(one)
        else:
            shape.append("batch" if axis == 0 and (one, other) == BATCHES else f"{name}_{axis}")
    return shape
