"""Outputs without a declared shape get one, because ONNX Runtime shows them as scalars."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from converters.base import Range
from converters.graph import open_session, read_signature, runner, set_shape
from converters.onnx.upgrading import Loadable
from converters.samples import INNER_SIZES, Samples
from model_store.errors import ConversionError, first_line
from model_store.manifest import Signature

BATCHES = (2, 3)


def declare_outputs(model: Loadable, ranges: Mapping[str, Range]) -> Signature:
    """Declares the outputs whose number of dimensions neither the file nor ONNX Runtime knows, by running the model
    at two batches; sizes that differ are dynamic. Returns the signature; the file is written anew where something was
    missing.

    Raises `ConversionError` for an input without a shape, and when the model does not run.
    """
    proto = onnx.load(model.path, load_external_data=False)
    for value in proto.graph.input:
        if not value.type.tensor_type.HasField("shape"):
            raise ConversionError(
                f"input {value.name!r} declares no shape: say it with `inputs:` (or --input {value.name}:FP32:-1,3)"
            )
    signature = read_signature(model.session)
    inferred = {arg.name for arg in model.session.get_outputs() if arg.shape}
    missing = [
        value
        for value in proto.graph.output
        if value.name not in inferred and not value.type.tensor_type.HasField("shape")
    ]
    if not missing:
        return signature
    samples = Samples(signature, ranges, inner_sizes=INNER_SIZES[0])
    try:
        first, second = (runner(model.session)(samples.draw(batch, seed)) for seed, batch in enumerate(BATCHES))
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        line = first_line(error)
        raise ConversionError(f"ONNX Runtime does not run the model on random inputs: {line}") from error
    for value in missing:
        set_shape(value, _common(first[value.name], second[value.name], value.name))
    model.path.write_bytes(proto.SerializeToString())  # external data stay where they are
    return read_signature(open_session(model.path))


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
