"""What a TFLite file tells of sensible values of its inputs, for the parity gate's random ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converters.base import Range
from model_store.manifest import Signature


def tflite_ranges(file: Any, place: int, inputs: Mapping[str, int], signature: Signature) -> dict[str, Range]:
    """Inputs that index rows of a constant table, and the whole width of quantised ones.

    `file` is a `ModelT`, `place` the number of the subgraph, `inputs` its tensors by public name.
    """
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator

    subgraph = file.subgraphs[place]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in file.operatorCodes]
    passed = dict.fromkeys(
        (BuiltinOperator.CAST, BuiltinOperator.RESHAPE, BuiltinOperator.EXPAND_DIMS, BuiltinOperator.SQUEEZE), 0
    )
    passed |= {BuiltinOperator.SELECT: 2, BuiltinOperator.SELECT_V2: 2}
    names = {index: name for name, index in inputs.items()}
    makers = {output: operator for operator in subgraph.operators or () for output in operator.outputs}
    ranges: dict[str, Range] = {
        spec.name: (-128, 127) if spec.datatype == "INT8" else (0, 255)
        for spec in signature.inputs
        if spec.datatype in ("INT8", "UINT8")
    }
    for operator in subgraph.operators or ():
        code = codes[operator.opcodeIndex]
        if code not in (BuiltinOperator.GATHER, BuiltinOperator.EMBEDDING_LOOKUP):
            continue
        table, index = operator.inputs[:2] if code == BuiltinOperator.GATHER else operator.inputs[1::-1]
        while index in makers and (code := codes[makers[index].opcodeIndex]) in passed:
            index = makers[index].inputs[passed[code]]
        rows = subgraph.tensors[table].shape
        if index in names and table not in makers and rows is not None and len(rows):
            ranges[names[index]] = (0, int(rows[0]) - 1)
    return ranges
