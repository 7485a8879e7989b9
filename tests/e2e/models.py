"""Tiny ONNX sources whose answers are known: `y = x * factor`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_multiplier(path: Path, factor: float, width: int = 2) -> None:
    """A model that multiplies `x`, FP32[-1,width], by `factor` into `y`."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "multiplier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", width])],
        [numpy_helper.from_array(np.float32(factor), "factor")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def write_slow(path: Path, steps: int) -> None:
    """`y` is `x` unchanged, FP32[-1,2], after `steps` products of two 512x512 matrices in a loop: seconds of work."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "identity"], ["next"]),
            helper.make_node("Identity", ["condition"], ["go_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [512, 512]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [512, 512]),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Loop", ["steps", "yes", "identity"], ["last"], body=body),
            helper.make_node("ReduceMean", ["last"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
            helper.make_node("Add", ["x", "nothing"], ["y"]),
        ],
        "slow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [
            numpy_helper.from_array(np.int64(steps), "steps"),
            numpy_helper.from_array(np.True_, "yes"),
            numpy_helper.from_array(np.eye(512, dtype=np.float32), "identity"),
            numpy_helper.from_array(np.float32(0), "zero"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)


def write_hanging(path: Path, at: float) -> None:
    """`y` is `x`, FP32[-1,2], at once, but for a batch that holds `at`: that one counts for hours."""
    number = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Add", ["state", "zero"], ["next"]), helper.make_node("Identity", ["condition"], ["go_on"])],
        "body",
        [
            number("step", TensorProto.INT64, []),
            number("condition", TensorProto.BOOL, []),
            number("state", TensorProto.FLOAT, []),
        ],
        [number("go_on", TensorProto.BOOL, []), number("next", TensorProto.FLOAT, [])],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Equal", ["x", "at"], ["found"]),
            helper.make_node("Cast", ["found"], ["counted"], to=TensorProto.INT64),
            helper.make_node("ReduceMax", ["counted"], ["any"], keepdims=0),
            helper.make_node("Mul", ["any", "hours"], ["steps"]),
            helper.make_node("Loop", ["steps", "yes", "zero"], ["nothing"], body=body),
            helper.make_node("Add", ["x", "nothing"], ["y"]),
        ],
        "hanging",
        [number("x", TensorProto.FLOAT, ["N", 2])],
        [number("y", TensorProto.FLOAT, ["N", 2])],
        [
            numpy_helper.from_array(np.float32(at), "at"),
            numpy_helper.from_array(np.int64(10**11), "hours"),
            numpy_helper.from_array(np.True_, "yes"),
            numpy_helper.from_array(np.float32(0), "zero"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)


def write_large(path: Path, factor: float, size_bytes: int) -> None:
    """`y = x * factor`, FP32[-1,2], with as many bytes of weights, of which it adds one that is zero."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "factor"], ["scaled"]),
            helper.make_node("ArgMax", ["x"], ["larger"], axis=1, keepdims=1),
            helper.make_node("Gather", ["weights", "larger"], ["nothing"]),
            helper.make_node("Add", ["scaled", "nothing"], ["y"]),
        ],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [
            numpy_helper.from_array(np.float32(factor), "factor"),
            numpy_helper.from_array(np.zeros(size_bytes // 4, np.float32), "weights"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def body(x: float) -> bytes:
    """A v2 request with the row `[x, x]`."""
    return json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [x, x]}]}).encode()


def binary_body(x: np.ndarray) -> tuple[bytes, dict[str, str]]:
    """A v2 request with the tensor `x`, FP32, in binary, that asks for a binary answer; and its headers."""
    tensor = {"name": "x", "datatype": "FP32", "shape": x.shape, "parameters": {"binary_data_size": x.nbytes}}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return header + x.tobytes(), {"inference-header-content-length": str(len(header))}


def write_rows(path: Path, *, turned_at: float | None = None, fails_at: float | None = None) -> None:
    """`y` is `x`, FP32[-1,2], but for rows that begin with `turned_at`, whose signs change, and with them the class; a
    batch with a row that begins with `fails_at` is answered with an error."""
    constants = {
        "turned_at": math.nan if turned_at is None else turned_at,
        "fails_at": math.nan if fails_at is None else fails_at,
        "minus_two": -2.0,
        "one": 1.0,
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["x", "first"], ["begin"], axis=1),
            helper.make_node("Equal", ["begin", "turned_at"], ["is_turned"]),
            helper.make_node("Cast", ["is_turned"], ["turned"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["turned", "minus_two"], ["less"]),
            helper.make_node("Add", ["less", "one"], ["sign"]),
            helper.make_node("Mul", ["x", "sign"], ["signed"]),
            helper.make_node("Equal", ["begin", "fails_at"], ["is_failing"]),
            helper.make_node("Cast", ["is_failing"], ["place"], to=TensorProto.INT64),
            # The second place of a list of one.
            helper.make_node("Gather", ["zeros", "place"], ["nothing"]),
            helper.make_node("Add", ["signed", "nothing"], ["y"]),
        ],
        "rows",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [
            *(numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()),
            numpy_helper.from_array(np.int64([0]), "first"),
            numpy_helper.from_array(np.zeros(1, np.float32), "zeros"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
