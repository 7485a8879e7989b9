"""Writing ONNX sources by hand. The recorded answers are a formula in numpy, written out beside each graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.sources.table import Built, Call, SourceCase, Tensors

Formula = Callable[..., Mapping[str, np.ndarray]]
Values = Mapping[str, tuple[int, Sequence[int | str] | None]]
"""Name -> element type and shape."""

FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64
HALF, BFLOAT, STRING, BOOL = TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.STRING, TensorProto.BOOL
ML = "ai.onnx.ml"
NETS = "Nets"
QUANTISED = "Quantised graphs"
CONTROL = "Control flow and functions"
CLASSIC = "Trees, linear models, text (ai.onnx.ml)"


def node(kind: str, inputs: str, outputs: str, domain: str = "", name: str = "", **attributes: Any) -> onnx.NodeProto:
    """A node; names are separated by blanks, and `_` is an input or output that is left out."""
    given, made = ([each if each != "_" else "" for each in names.split()] for names in (inputs, outputs))
    return helper.make_node(kind, given, made, domain=domain, name=name, **attributes)


def graph(
    nodes: Sequence[onnx.NodeProto], inputs: Values, outputs: Values, weights: Mapping[str, np.ndarray] | None = None
) -> onnx.GraphProto:
    return helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
        [helper.make_tensor_value_info(name, *spec) for name, spec in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )


def model(made: onnx.GraphProto, opset: int = 18, ir: int = 9, **domains: int) -> onnx.ModelProto:
    """`domains` are opsets of others, with `_` for a dot in the name."""
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(domain.replace("_", "."), version) for domain, version in domains.items()]
    return helper.make_model(made, opset_imports=imports, ir_version=ir)


def written(folder: Path, proto: onnx.ModelProto, formula: Formula, *inputs: Tensors) -> Built:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return Built(path, calls(formula, *inputs))


def calls(formula: Formula, *inputs: Tensors) -> tuple[Call, ...]:
    return tuple(Call(given, dict(formula(*given.values()))) for given in inputs)


def floats(*shapes: Sequence[int], seed: int = 0, dtype: type = np.float32) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(shape).astype(dtype) for shape in shapes]


def text(*values: str) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = [value.encode() for value in values]
    return array


def case(
    name: str, kind: str, build: Callable[[Path], Built], refused: str = "", remark: str = "", **fields: Any
) -> SourceCase:
    expect = "refused" if refused else "onnx"
    return SourceCase(f"onnx-{name}", "onnx", kind, build, expect, remark, reason=refused, **fields)  # type: ignore[arg-type]
