"""A batch dimension that the source froze: found, freed in the graph, or served by padding and splitting.

The server pads with this too, so nothing here imports ONNX before it is asked to free a graph, which is `freeing/`'s.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from converters.base import Arrays, Run
from model_store.manifest import Signature, TensorSpec


def frozen_batch(signature: Signature) -> int | None:
    """The static first dimension that all inputs and outputs share.

    None when there is none to free: a first dimension is dynamic, they differ, one is 0, or a tensor is a scalar.
    """
    firsts = {spec.shape[0] if spec.shape else -1 for spec in (*signature.inputs, *signature.outputs)}
    (only, *others) = firsts or {-1}
    return only if not others and only > 0 else None


def by_batches(run: Run, batch: int) -> Run:
    """`run`, which computes exactly `batch` rows, as a function of any number of rows.

    The last part is filled up with copies of the last row, whose answers are dropped. Inputs without rows are
    answered by the outputs of a padded run, cut to none.
    """

    def run_all(inputs: Arrays) -> dict[str, np.ndarray]:
        rows = len(next(iter(inputs.values())))
        parts = [
            run({name: _filled(array[start : start + batch], batch) for name, array in inputs.items()})
            for start in range(0, max(rows, 1), batch)
        ]
        return {name: np.concatenate([part[name] for part in parts])[:rows] for name in parts[0]}

    return run_all


def _filled(part: np.ndarray, batch: int) -> np.ndarray:
    missing = batch - len(part)
    if not missing:
        return part
    if not len(part):
        return np.full((batch, *part.shape[1:]), b"" if part.dtype.kind == "O" else 0, part.dtype)
    return np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])


def free_batch(model: Path, batch: int, folder: Path) -> Path | None:
    """A copy of the ONNX file `model`, whose inputs and outputs all have `batch` for their first dimension, with a
    symbolic one instead, as `model.onnx` in the new `folder`.

    None when nothing sensible can be done, ONNX Runtime refuses the result, or it computes something else for the
    rows of a few samples. Raises `ConversionError` when ONNX Runtime does not load `model` itself.
    """
    from converters.freeing.trial import free

    return free(model, batch, folder)


def with_any_batch(signature: Signature) -> Signature:
    """The signature with a free first dimension everywhere."""

    def free(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(spec.name, spec.datatype, (-1, *spec.shape[1:])) for spec in specs)

    return Signature(free(signature.inputs), free(signature.outputs))
