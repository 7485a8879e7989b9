"""Freeing the batch of a file: one attempt for each preference, tried on a few samples.

It may be optimistic, because the parity gate proves what it makes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnxruntime

from converters.base import Run
from converters.batch import by_batches, with_any_batch
from converters.comparison import equal_rows, scale_of
from converters.freeing.axes import PREFERENCES, Shape
from converters.freeing.release import BatchRelease
from converters.graph import LARGEST_INLINE_BYTES, open_session, read_signature, runner, save_model, weight_bytes
from converters.samples import Samples
from model_store.datatypes import is_floating
from model_store.manifest import Signature

TRIAL_RTOL = 1e-3
"""A freed graph that is further from the frozen one is put aside here; the gate is stricter."""


def free(model: Path, batch: int, folder: Path) -> Path | None:
    """See `converters.batch.free_batch`."""
    session = open_session(model)
    signature, frozen = read_signature(session), runner(session)
    known_shapes = _runtime_shapes(model)
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


def _runtime_shapes(path: Path) -> dict[str, tuple[int, Shape]]:
    """Types and static shapes of the main graph's values as ONNX Runtime infers them, where operators without an
    ONNX definition make ONNX's own inference stop."""
    graph = onnx.load(path, load_external_data=False).graph
    if all(node.domain in ("", "ai.onnx") for node in graph.node):
        return {}
    model = _inlined(onnx.load(path))
    if weight_bytes(model) > LARGEST_INLINE_BYTES:
        return {}
    known = {value.name for value in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if name and name not in known]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
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
    inputs = Samples(with_any_batch(signature)).draw(batch + 2, 0)
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
    return equal_rows(expected, answer, scale_of(expected), TRIAL_RTOL)
