"""What an ONNX model is compared with: it has no framework of its own.

The ONNX reference evaluator is the definition of the operators in numpy; it is slow, lacks operators and has defects of
its own. ONNX Runtime without graph optimisation is the other witness.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnxruntime

from converters.base import Arrays, Run
from converters.graph import open_session
from converters.parity import runner
from converters.samples import Samples, dynamic_batch, fixed_batch

EVALUATOR_BUDGET_S = 20.0
"""For all rows that the gate asks for; a model that takes longer is compared with ONNX Runtime."""
GATE_BATCHES = 2.5
"""How many times the largest batch the gate computes, all in all."""
LARGEST_EVALUATED_BYTES = 200 << 20


def references(model: Path, samples: Samples, largest_batch: int, changed: str | None) -> Iterator[tuple[Run, str]]:
    """The witnesses with their names, best first. A second one is there because the evaluator is wrong for some models;
    its name then says that the two differ. `changed` says what was done to the model before."""
    suffix = f", {changed}" if changed else ""
    evaluator = _evaluator(model, samples, largest_batch)
    if evaluator is not None:
        yield evaluator, f"onnx reference evaluator {onnx.__version__}{suffix}"
        suffix = f", the onnx reference evaluator {onnx.__version__} does not confirm it{suffix}"
    name = f"onnxruntime {onnxruntime.__version__} without optimisation{suffix}"
    yield runner(open_session(model, optimise=False)), name


def _evaluator(model: Path, samples: Samples, largest_batch: int) -> Run | None:
    """The reference evaluator, if it can run the model in time."""
    if sum(path.stat().st_size for path in model.parent.iterdir()) > LARGEST_EVALUATED_BYTES:
        return None
    dynamic = dynamic_batch(samples.signature)
    batch = 1 if dynamic else fixed_batch(samples.signature)
    try:
        evaluator = onnx.reference.ReferenceEvaluator(str(model))

        def evaluate(inputs: Arrays) -> dict[str, np.ndarray]:
            with np.errstate(all="ignore"):
                outputs = evaluator.run(None, {name: _text(array) for name, array in inputs.items()})
            return {name: np.asarray(out) for name, out in zip(evaluator.output_names, outputs, strict=True)}

        inputs = samples.draw(batch, 0)
        start = time.perf_counter()
        evaluate(inputs)
    except Exception:  # it lacks operators, and says so in many ways
        return None
    seconds = time.perf_counter() - start
    return evaluate if seconds / batch * largest_batch * GATE_BATCHES < EVALUATOR_BUDGET_S else None


def _text(array: np.ndarray) -> np.ndarray:
    """The evaluator compares texts with the `str` of attributes."""
    if array.dtype.kind != "O":
        return array
    texts = np.empty(array.shape, dtype=object)
    texts.ravel()[:] = [item.decode() if isinstance(item, bytes) else item for item in array.ravel()]
    return texts
