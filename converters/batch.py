"""A batch dimension that the source froze: found, freed in the graph, or served by padding and splitting.

`free_batch` may be optimistic, because the parity gate proves what it makes. How the batch is followed through a
graph is `batch_release.py`'s.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnxruntime

from converters.base import Arrays, Run
from converters.batch_axes import PREFERENCES, Shape
from converters.batch_release import BatchRelease
from converters.comparison import equal_rows
from converters.graph import LARGEST_INLINE_BYTES, open_session, read_signature, save_model
from converters.parity import runner
from converters.samples import Samples
from model_store.datatypes import is_floating
from model_store.manifest import Signature, TensorSpec

TRIAL_RTOL = 1e-3
"""A freed graph that is further from the frozen one is put aside here; the gate is stricter."""


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
    rows of a few samples.
    """
    session = open_session(model)
    signature, frozen = read_signature(session), runner(session)
    known_shapes = _runtime_shapes(_inlined(onnx.load(model)))
    tried: set[bytes] = set()
    for preference in PREFERENCES:
        proto = _inlined(onnx.load(model))
        try:
            BatchRelease(proto, batch, known_shapes, preference).release()
        except Exception:  # `FrozenBatch`, or a graph that nobody thought of: it is padded then, or served as it is
            continue
        nodes = b"".join(node.SerializeToString(deterministic=True) for node in proto.graph.node)
        if nodes in tried:
            continue
        tried.add(nodes)
        freed = save_model(proto, folder)
        if _computes_the_same(frozen, freed, signature, batch):
            return freed
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    return None


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _runtime_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, Shape]]:
    """Types and static shapes of the main graph's values as ONNX Runtime infers them, where operators without an
    ONNX definition make ONNX's own inference stop."""
    if all(node.domain in ("", "ai.onnx") for node in model.graph.node) or model.ByteSize() > LARGEST_INLINE_BYTES:
        return {}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {value.name for value in copy.graph.output}
    names = [name for node in copy.graph.node for name in node.output if name and name not in known]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # a value that is no tensor can't be an output; without these shapes less can be freed
        return {}
    return {
        arg.name: (_element_type(arg.type), tuple(arg.shape))
        for arg in session.get_outputs()
        if arg.shape is not None and all(isinstance(size, int) for size in arg.shape)
    }


def _element_type(text: str) -> int:
    """ONNX Runtime's `tensor(float)` as a `TensorProto.DataType`; 0 for what is no tensor."""
    return int(onnx.TensorProto.DataType.Value(text[7:-1].upper())) if text.startswith("tensor(") else 0


def _computes_the_same(frozen: Run, freed: Path, signature: Signature, batch: int) -> bool:
    """Whether more rows than the frozen batch are answered as the frozen model answers them in parts."""
    inputs = Samples(_any_batch(signature)).draw(batch + 2, 0)
    try:
        answers = runner(open_session(freed))(inputs)
    except Exception:  # ONNX Runtime's errors have no base of their own
        return False
    try:
        expected = by_batches(frozen, batch)(inputs)
    except Exception:  # these samples are not for this model; the gate has better ones
        return True
    return all(_close(answers[name], array) for name, array in expected.items())


def _close(answer: np.ndarray, expected: np.ndarray) -> bool:
    if answer.shape != expected.shape or not is_floating(expected.dtype):
        return answer.shape == expected.shape
    wide = expected.astype(np.float64)
    return equal_rows(expected, answer, float(np.abs(wide[np.isfinite(wide)]).max(initial=0)), TRIAL_RTOL)


def _any_batch(signature: Signature) -> Signature:
    inputs = tuple(TensorSpec(spec.name, spec.datatype, (-1, *spec.shape[1:])) for spec in signature.inputs)
    return Signature(inputs, signature.outputs)
