"""A float32 graph with float16 inside. ONNX Runtime's own tool does the work; what is kept wide is decided here."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
import onnx.inliner
from onnx import TensorProto

from converters.graph import LARGEST_INLINE_BYTES, open_session, save_model, weight_bytes
from model_store.errors import ConversionError

KEPT_WIDE = (
    "Pow", "Exp", "Log", "Reciprocal", "ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceSumSquare", "InstanceNormalization", "GroupNormalization", "LpNormalization",
    "MeanVarianceNormalization", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "RandomNormal",
    "RandomUniform", "RandomNormalLike", "Multinomial", "Bernoulli", "Mod", "Det", "STFT", "DFT", "MelWeightMatrix",
)  # fmt: skip
"""Operators whose results leave float16's range or lose too much in it; with those that ONNX Runtime keeps itself."""
CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")


def to_float16(model: Path, target: Path) -> None:
    """Writes `model` with float16 weights and arithmetic as `target`; inputs and outputs keep their datatypes.

    Raises `ConversionError` when no weight could be made float16, or ONNX Runtime refuses the result.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST

    refusal: ConversionError | None = None
    for blocked in ((), CONTROL_FLOW):
        narrow = _converted(model, [*DEFAULT_OP_BLOCK_LIST, *KEPT_WIDE, *blocked])
        if not _holds_float16(narrow.graph):
            raise ConversionError(
                "nothing in the model can be float16: it has no float32 weights outside of trees and other operators "
                "that need their width; leave it at float32"
            )
        for path in target.parent.glob(f"{target.name}*"):
            path.unlink()
        save_model(narrow, target.parent, target.name)
        try:
            open_session(target)
            return
        except ConversionError as error:
            refusal = refusal or error
    assert refusal is not None
    raise ConversionError(f"at float16: {refusal.message}; leave it at float32") from refusal


def _converted(path: Path, blocked: list[str]) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    loaded = onnx.load(path)
    if loaded.functions:
        loaded = onnx.inliner.inline_local_functions(loaded)
    model = str(path) if weight_bytes(loaded) > LARGEST_INLINE_BYTES else loaded
    logging.disable(logging.WARNING)  # it tells of each weight that is cut
    try:
        return convert_float_to_float16(model, keep_io_types=True, op_block_list=blocked)
    except Exception as error:  # it asserts and raises in many ways
        raise ConversionError(f"the model can't be made float16: {type(error).__name__}: {error}") from error
    finally:
        logging.disable(logging.NOTSET)


def _holds_float16(graph: onnx.GraphProto) -> bool:
    """Whether any weight is float16; the casts around a graph of trees alone make nothing smaller."""
    if any(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer):
        return True
    return any(
        attribute.t.data_type == TensorProto.FLOAT16 or (attribute.HasField("g") and _holds_float16(attribute.g))
        for node in graph.node
        for attribute in node.attribute
    )
