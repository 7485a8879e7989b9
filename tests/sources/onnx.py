"""ONNX sources: `onnx_versions.py` (opsets, IR versions, files, number formats), `onnx_operators.py` (operators of all
domains, quantised graphs), `onnx_layers.py` (what nets are made of), `onnx_batches.py` (frozen batches, what is
refused) and `onnx_pretrained.py` (nets that ship in packages)."""

from tests.sources import onnx_batches, onnx_layers, onnx_operators, onnx_pretrained, onnx_versions
from tests.sources.table import SourceCase

CASES: list[SourceCase] = [
    *onnx_versions.CASES,
    *onnx_operators.CASES,
    *onnx_layers.CASES,
    *onnx_batches.CASES,
    *onnx_pretrained.CASES,
]
