"""A float32 graph with int8 weights: dynamic quantisation, or static where the user gives real inputs.

Dynamic quantisation measures activations at each call. Static quantisation fixes their ranges from the calibration
data, and writes QuantizeLinear/DequantizeLinear pairs that ONNX Runtime fuses. Weights use 7 of the 8 bits: x86
processors without VNNI would overflow 16-bit sums otherwise, and answer differently from others.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime

from converters.base import Arrays, Conversion
from converters.graph import LARGEST_INLINE_BYTES, open_session, opset_of, save_model, weight_bytes
from converters.optimising import write_optimised
from converters.samples import batch_near, dynamic_batch, load_examples
from model_store.errors import ConfigError, ConversionError, first_line

OLDEST_OPSET = 13
"""Scales for each channel came with it."""
OPSET = 17
ROWS_A_CALL = 8
STATIC = (
    "Conv", "ConvTranspose", "MatMul", "Gemm", "MaxPool", "AveragePool", "GlobalAveragePool", "Relu", "Clip",
    "Concat", "Resize", "Flatten", "Pad",
)  # fmt: skip
"""Operators between fixed ranges; Softmax, normalisations and recurrences lose too much."""
QUANTISED = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul",
    "QLinearConv", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QAttention", "QGemm",
}  # fmt: skip


def to_int8(conversion: Conversion, calibration: str | None, target: Path) -> None:
    """Writes the conversion's graph with int8 weights as `target`. `calibration` is the path of an `.npz` of real
    inputs by name, rows first.

    Raises `ConversionError` when nothing could be quantised or the result does not load, `ConfigError` when the
    calibration data do not fit.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch, _quiet():
        prepared = _prepared(conversion.model, Path(scratch))
        large = weight_bytes(onnx.load(prepared)) > LARGEST_INLINE_BYTES
        try:
            if calibration is None:
                _quantise_dynamically(prepared, target, large)
            else:
                _quantise_statically(prepared, target, large, _Calibration(conversion, calibration))
        except ConfigError:
            raise
        except Exception as error:  # the library raises in many ways
            line = first_line(error)
            raise ConversionError(f"the model can't be quantised to int8: {line}; leave it at float32") from error
    if not QUANTISED & _operators(target):
        raise ConversionError(
            "nothing in the model can be int8: products with constant matrices, convolutions, embeddings and LSTMs "
            "are quantised, trees are not; leave it at float32"
        )
    try:
        open_session(target)
    except ConversionError as error:
        raise ConversionError(f"at int8: {error.message}; leave it at float32") from error


def _prepared(path: Path, scratch: Path) -> Path:
    """The model in an opset that can be quantised, its constants folded and normalisations merged into convolutions;
    raises `ConversionError` when it is quantised already."""
    found = QUANTISED & _operators(path)
    if found:
        raise ConversionError(f"the model is quantised already ({', '.join(sorted(found))}): leave it at float32")
    opset = opset_of(path)
    if opset < OLDEST_OPSET:
        try:
            upgraded = onnx.version_converter.convert_version(onnx.load(path), OPSET)
        except Exception as error:  # it has no adapter for some operators, and says so in many ways
            raise ConversionError(
                f"int8 needs opset {OLDEST_OPSET} or newer, and the model's {opset} can't be converted: export it again"
            ) from error
        path = save_model(upgraded, scratch)
    prepared = scratch / "prepared.onnx"
    write_optimised(path, prepared, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    _drop_inner_shapes(prepared)
    return prepared


def _drop_inner_shapes(path: Path) -> None:
    """PyTorch's exporter declares shapes of weights too, and the tool, which turns some weights over, believes them."""
    model = onnx.load(path, load_external_data=False)
    del model.graph.value_info[:]
    onnx.save(model, path)


def _operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path, load_external_data=False).graph.node}


def _quantise_dynamically(model: Path, target: Path, large: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        model,
        target,
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=large,
    )


def _quantise_statically(model: Path, target: Path, large: bool, reader: _Calibration) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        model,
        target,
        reader,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(STATIC),
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        use_external_data_format=large,
    )


class _Calibration:
    """The user's rows, a few at a time, as ONNX Runtime's `CalibrationDataReader` gives them."""

    def __init__(self, conversion: Conversion, path: str) -> None:
        signature = conversion.signature
        rows = load_examples(path, signature, "calibration")
        missing = [spec.name for spec in signature.inputs if spec.name not in rows]
        if missing:
            raise ConfigError(f"calibration: {path!r} holds no rows for the inputs {', '.join(missing)}")
        batch = batch_near(conversion, ROWS_A_CALL)
        count = min(len(array) for array in rows.values())
        exact = conversion.fixed_batch is not None or not dynamic_batch(signature)
        if exact and count < batch:
            raise ConfigError(f"calibration: {path!r} holds {count} rows; the model takes {batch} at a time")
        ends = range(batch, count + 1, batch) if exact else range(batch, count + batch, batch)
        self._parts: Iterator[Arrays] = iter(
            [{name: array[end - batch : min(end, count)] for name, array in rows.items()} for end in ends]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next rows, None after the last."""
        part = next(self._parts, None)
        return None if part is None else dict(part)

    def __len__(self) -> int:
        return 0

    def set_range(self, start_index: int, end_index: int) -> None:
        """Not used: all rows are read in one go."""


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """The library logs advice through the root logger."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
