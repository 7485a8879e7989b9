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
from converters.graph import open_session, runner
from converters.samples import Samples, dynamic_batch, fixed_batch

EVALUATOR_BUDGET_S = 20.0
"""For all rows that the gate asks for; a model that takes longer is compared with ONNX Runtime."""
LEAST_SLOWDOWN = 5
"""How many times slower than ONNX Runtime it is at least, where there is anything to compute."""
GATE_BATCHES = 2.5
"""How many times the largest batch the gate computes, all in all."""
LARGEST_EVALUATED_BYTES = 200 << 20


def references(model: Path, samples: Samples, largest_batch: int, changed: str | None) -> Iterator[tuple[Run, str]]:
    """The witnesses with their names, best first. A second one is there because the evaluator is wrong for some models;
    its name then says that the two differ. `changed` says what was done to the model before."""
    suffix = f", {changed}" if changed else ""
    plain = runner(open_session(model, optimise=False))
    evaluator = _evaluator(model, plain, samples, largest_batch)
    if evaluator is not None:
        yield evaluator, f"onnx reference evaluator {onnx.__version__}{suffix}"
        suffix = f", the onnx reference evaluator {onnx.__version__} does not confirm it{suffix}"
    yield plain, f"onnxruntime {onnxruntime.__version__} without optimisation{suffix}"


def _evaluator(model: Path, plain: Run, samples: Samples, largest_batch: int) -> Run | None:
    """The reference evaluator, if it can run the model in time."""
    if sum(path.stat().st_size for path in model.parent.iterdir()) > LARGEST_EVALUATED_BYTES:
        return None
    batch = 1 if dynamic_batch(samples.signature) else fixed_batch(samples.signature)
    inputs = samples.draw(batch, 0)
    budget_s = EVALUATOR_BUDGET_S / GATE_BATCHES / largest_batch * batch
    try:
        evaluator = onnx.reference.ReferenceEvaluator(str(model))

        def evaluate(inputs: Arrays) -> dict[str, np.ndarray]:
            with np.errstate(all="ignore"):
                outputs = evaluator.run(None, {name: _text(array) for name, array in inputs.items()})
            return {name: np.asarray(out) for name, out in zip(evaluator.output_names, outputs, strict=True)}

        if _seconds(plain, inputs) * LEAST_SLOWDOWN < budget_s and _seconds(evaluate, inputs) < budget_s:
            return evaluate
    except Exception:  # it lacks operators, and says so in many ways
        return None
    return None


def _seconds(run: Run, inputs: Arrays) -> float:
    start = time.perf_counter()
    run(inputs)
    return time.perf_counter() - start


def _text(array: np.ndarray) -> np.ndarray:
    """The evaluator compares texts with the `str` of attributes."""
    if array.dtype.kind != "O":
        return array
    texts = np.empty(array.shape, dtype=object)
    texts.ravel()[:] = [item.decode() if isinstance(item, bytes) else item for item in array.ravel()]
    return texts
