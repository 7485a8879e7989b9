"""ONNX files of all ages: opsets 1 to 24, IR versions 3 to 14, external data, number formats, odd but legal files."""

from __future__ import annotations

from math import erf
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.sources.onnx_writing import (
    BFLOAT,
    BOOL,
    DOUBLE,
    FLOAT,
    HALF,
    INT64,
    Values,
    calls,
    case,
    floats,
    graph,
    model,
    node,
    written,
)
from tests.sources.table import Built

W, B = floats((4, 3), (3,), seed=1)
X: Values = {"x": (FLOAT, ["n", 4])}
Y: Values = {"y": (FLOAT, ["n", 3])}
LINEAR = graph([node("MatMul", "x w", "h"), node("Add", "h b", "y")], X, Y, {"w": W, "b": B})


def linear(x: np.ndarray) -> dict[str, np.ndarray]:
    return {"y": x @ W + B}


def rows(columns: int = 4, seed: int = 5) -> list[dict[str, np.ndarray]]:
    return [{"x": array} for array in floats((2, columns), (5, columns), seed=seed)]


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis, keepdims=True))


def opset_1_broadcast(folder: Path) -> Built:
    """Adds a vector along axis 1, as Caffe2 and CNTK wrote it: numpy's rule would refuse it."""
    made = graph(
        [node("Add", "x b", "s", axis=1, broadcast=1, consumed_inputs=[0, 0]),
         node("Relu", "s", "y", consumed_inputs=[0])],
        {"x": (FLOAT, ["n", 3, 2]), "b": (FLOAT, [3])},
        {"y": (FLOAT, ["n", 3, 2])},
        {"b": B},
    )  # fmt: skip
    inputs = [{"x": array} for array in floats((2, 3, 2), (5, 3, 2))]
    return written(folder, model(made, 1, 3), lambda x: {"y": np.maximum(x + B[None, :, None], 0)}, *inputs)


def opset_6_batch_norm(folder: Path) -> Built:
    """BatchNormalization, Dropout and Gemm in their oldest forms, with weights that are inputs as IR 3 wants it."""
    scale, shift, mean, variance = (np.array(v, np.float32) for v in ([1, 2], [0.5, -1], [0.1, 0.2], [1.5, 0.5]))
    weight = floats((8, 3), seed=2)[0]
    weights = {"s": scale, "t": shift, "m": mean, "v": variance, "w": weight, "b": B}
    made = graph(
        [
            node("BatchNormalization", "x s t m v", "n", is_test=1, epsilon=1e-5),
            node("Dropout", "n", "d _", is_test=1, ratio=0.4),
            node("Flatten", "d", "f", axis=1),
            node("Gemm", "f w b", "y", broadcast=1),
        ],
        {"x": (FLOAT, ["n", 2, 2, 2]), **{name: (FLOAT, array.shape) for name, array in weights.items()}},
        {"y": (FLOAT, ["n", 3])},
        weights,
    )
    made.node[1].output[:] = ["d"]

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        normal = (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5)
        return {"y": (normal * scale[:, None, None] + shift[:, None, None]).reshape(len(x), -1) @ weight + B}

    return written(folder, model(made, 6, 3), formula, *({"x": array} for array in floats((2, 2, 2, 2), (5, 2, 2, 2))))


def opset_7_gemm(folder: Path) -> Built:
    """IR 3: initializers are inputs as well, and no client is to send them."""
    made = graph(
        [node("Gemm", "x w b", "h"), node("Softmax", "h", "y", axis=1)],
        {"x": (FLOAT, ["n", 4]), "w": (FLOAT, [4, 3]), "b": (FLOAT, [3])},
        {"y": (FLOAT, ["n", 3])},
        {"w": W, "b": B},
    )
    return written(folder, model(made, 7, 3), lambda x: {"y": softmax(x @ W + B)}, *rows())


def opset_9_upsample(folder: Path) -> Built:
    made = graph(
        [node("Upsample", "x s", "y", mode="nearest")],
        {"x": (FLOAT, ["n", 1, 2, 2])},
        {"y": (FLOAT, None)},
        {"s": np.array([1, 1, 2, 2], np.float32)},
    )
    inputs = [{"x": array} for array in floats((2, 1, 2, 2), (3, 1, 2, 2))]
    return written(folder, model(made, 9, 4), lambda x: {"y": x.repeat(2, 2).repeat(2, 3)}, *inputs)


def opset_11_softmax(folder: Path) -> Built:
    """Up to opset 12 Softmax flattens all axes from `axis` on; its default axis was 1."""
    made = graph([node("Softmax", "x", "y")], {"x": (FLOAT, ["n", 2, 3])}, {"y": (FLOAT, ["n", 2, 3])})
    inputs = [{"x": array} for array in floats((2, 2, 3), (4, 2, 3))]
    return written(
        folder, model(made, 11, 6), lambda x: {"y": softmax(x.reshape(len(x), -1)).reshape(x.shape)}, *inputs
    )


def opset_13_squeeze(folder: Path) -> Built:
    made = graph(
        [node("ReduceSum", "x a", "s", keepdims=1), node("Squeeze", "s a", "y")],
        {"x": (FLOAT, ["n", 4, "t"])},
        {"y": (FLOAT, ["n", 4])},
        {"a": np.array([2])},
    )
    inputs = [{"x": array} for array in floats((2, 4, 3), (5, 4, 6))]
    return written(folder, model(made, 13, 7), lambda x: {"y": x.sum(2)}, *inputs)


def opset_17_layer_norm(folder: Path) -> Built:
    scale, shift = floats((4,), (4,), seed=3)
    made = graph(
        [node("LayerNormalization", "x s b", "y", axis=-1)],
        X,
        {"y": (FLOAT, ["n", 4])},
        {"s": scale, "b": shift},
    )

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        return {"y": (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * scale + shift}

    return written(folder, model(made, 17, 8), formula, *rows())


def opset_20_gelu(folder: Path) -> Built:
    made = graph([node("Gelu", "x", "y")], X, {"y": (FLOAT, ["n", 4])})
    gelu = np.vectorize(lambda value: value / 2 * (1 + erf(value / np.sqrt(2))))
    return written(folder, model(made, 20, 9), lambda x: {"y": gelu(x).astype(np.float32)}, *rows())


def opset_23_rms_norm(folder: Path) -> Built:
    scale = floats((4,), seed=3)[0]
    made = graph(
        [node("RMSNormalization", "x s", "y", epsilon=1e-6)],
        X,
        {"y": (FLOAT, ["n", 4])},
        {"s": scale},
    )
    return written(
        folder,
        model(made, 23, 11),
        lambda x: {"y": x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-6) * scale},
        *rows(),
    )


def opset_24_swish(folder: Path) -> Built:
    made = graph([node("Swish", "x", "y")], X, {"y": (FLOAT, ["n", 4])})
    return written(folder, model(made, 24, 11), lambda x: {"y": x / (1 + np.exp(-x))}, *rows())


def newest_ir(folder: Path) -> Built:
    """An IR version that onnx writes by default and ONNX Runtime does not read yet."""
    return written(folder, model(LINEAR, 18, 14), linear, *rows())


def one_data_file(folder: Path) -> Built:
    onnx.save(model(LINEAR), folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    return Built(folder, calls(linear, *rows()))


def many_data_files(folder: Path) -> Built:
    apart = {"save_as_external_data": True, "all_tensors_to_one_file": False, "size_threshold": 0}
    onnx.save(model(LINEAR), folder / "m.onnx", **apart)
    return Built(folder, calls(linear, *rows()))


def float16(folder: Path) -> Built:
    weight = W.astype(np.float16)
    made = graph([node("MatMul", "x w", "y")], {"x": (HALF, ["n", 4])}, {"y": (HALF, ["n", 3])}, {"w": weight})
    inputs = [{"x": array} for array in floats((2, 4), (5, 4), dtype=np.float16)]

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        return {"y": (x.astype(np.float32) @ weight.astype(np.float32)).astype(np.float16)}

    return written(folder, model(made), formula, *inputs)


def float16_inside(folder: Path) -> Built:
    weight = W.astype(np.float16)
    made = graph(
        [
            node("Cast", "x", "h", to=HALF),
            node("MatMul", "h w", "z"),
            node("Relu", "z", "r"),
            node("Cast", "r", "y", to=FLOAT),
        ],
        X,
        {"y": (FLOAT, ["n", 3])},
        {"w": weight},
    )

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        return {"y": np.maximum(x.astype(np.float16).astype(np.float32) @ weight.astype(np.float32), 0)}

    return written(folder, model(made), formula, *rows())


def bfloat16(folder: Path) -> Built:
    """Weights and tensors in bfloat16: widened, as ONNX Runtime has no arrays of it."""
    weight = W.astype(ml_dtypes.bfloat16)
    inputs: Values = {"x": (BFLOAT, ["n", 4])}
    made = graph([node("MatMul", "x w", "h"), node("Relu", "h", "y")], inputs, {"y": (BFLOAT, ["n", 3])}, {"w": weight})
    return written(folder, model(made, 22, 10), lambda x: {"y": np.maximum(x @ weight.astype(np.float32), 0)}, *rows())


def float64(folder: Path) -> Built:
    weight = W.astype(np.float64)
    made = graph([node("MatMul", "x w", "y")], {"x": (DOUBLE, ["n", 4])}, {"y": (DOUBLE, ["n", 3])}, {"w": weight})
    inputs = [{"x": array} for array in floats((2, 4), (5, 4), dtype=np.float64)]
    return written(folder, model(made), lambda x: {"y": x @ weight}, *inputs)


def pixels(folder: Path) -> Built:
    """An image of uint8, layout last."""
    made = graph(
        [node("Cast", "image", "f", to=FLOAT), node("Div", "f k", "s"), node("ReduceMean", "s a", "y", keepdims=0)],
        {"image": (TensorProto.UINT8, ["n", 4, 4, 3])},
        {"y": (FLOAT, ["n", 3])},
        {"k": np.float32(255), "a": np.array([1, 2])},
    )
    generator = np.random.default_rng(0)
    inputs = [{"image": generator.integers(0, 256, (n, 4, 4, 3)).astype(np.uint8)} for n in (2, 5)]
    return written(folder, model(made), lambda x: {"y": (x / np.float32(255)).mean((1, 2), dtype=np.float32)}, *inputs)


def odd_names(folder: Path) -> Built:
    """Names as TensorFlow and PyTorch scopes make them; an output that is an input, and one given out twice."""
    made = graph(
        [node("Neg", "serving/x:0", "/head/out.1")],
        {"serving/x:0": (FLOAT, ["n", 4])},
        {"/head/out.1": (FLOAT, ["n", 4]), "serving/x:0": (FLOAT, ["n", 4])},
    )
    made.output.append(made.output[0])
    inputs = [{"serving/x:0": each["x"]} for each in rows()]
    return written(folder, model(made), lambda x: {"/head/out.1": -x, "serving/x:0": x}, *inputs)


def no_output_shape(folder: Path) -> Built:
    """The number of the output's dimensions depends on a shape that is computed."""
    made = graph(
        [node("Shape", "x", "s"), node("Slice", "s zero one", "first"), node("Concat", "first rest", "t", axis=0),
         node("Reshape", "x t", "y")],
        X,
        {"y": (FLOAT, None)},
        {"zero": np.array([0]), "one": np.array([1]), "rest": np.array([2, 2])},
    )  # fmt: skip
    return written(folder, model(made), lambda x: {"y": x.reshape(-1, 2, 2)}, *rows())


def unsorted(folder: Path) -> Built:
    made = graph([node("Relu", "h", "y"), node("MatMul", "x w", "h")], X, Y, {"w": W})
    return written(folder, model(made), lambda x: {"y": np.maximum(x @ W, 0)}, *rows())


def booleans(folder: Path) -> Built:
    made = graph(
        [node("Greater", "x zero", "big"), node("And", "big mask", "y"), node("Cast", "y", "count", to=INT64)],
        {"x": (FLOAT, ["n", 4]), "mask": (BOOL, ["n", 4])},
        {"y": (BOOL, ["n", 4]), "count": (INT64, ["n", 4])},
        {"zero": np.float32(0)},
    )
    generator = np.random.default_rng(0)
    inputs = [{**each, "mask": generator.random(each["x"].shape) < 0.5} for each in rows()]

    def formula(x: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
        return {"y": (x > 0) & mask, "count": ((x > 0) & mask).astype(np.int64)}

    return written(folder, model(made), formula, *inputs)


def no_opset(folder: Path) -> Built:
    """Only the domain of trees and scalers is imported, as some converters write it."""
    made = graph(
        [node("Scaler", "x", "y", "ai.onnx.ml", scale=[2.0, 3.0, 1.0, 0.5], offset=[1.0, 0.0, -1.0, 0.0])],
        X,
        {"y": (FLOAT, ["n", 4])},
    )
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("ai.onnx.ml", 1)], ir_version=6)
    offset, scale = np.array([1, 0, -1, 0], np.float32), np.array([2, 3, 1, 0.5], np.float32)
    return written(folder, proto, lambda x: {"y": (x - offset) * scale}, *rows())


OLD = "Opsets 1 to 6, upgraded"
OPSETS = "Opsets 7 to 24"
FORMATS = "Number formats"
FILES = "External data"
ODD = "Odd but legal files"

CASES = [
    case("opset-1-broadcast", OLD, opset_1_broadcast),
    case("opset-6-batch-norm", OLD, opset_6_batch_norm),
    case("opset-7-ir-3", OPSETS, opset_7_gemm),
    case("opset-9-upsample", OPSETS, opset_9_upsample),
    case("opset-11-softmax", OPSETS, opset_11_softmax),
    case("opset-13-axes-as-inputs", OPSETS, opset_13_squeeze),
    case("opset-17-layer-norm", OPSETS, opset_17_layer_norm),
    case("opset-20-gelu", OPSETS, opset_20_gelu),
    case("opset-23-rms-norm", OPSETS, opset_23_rms_norm),
    case("opset-24-swish", OPSETS, opset_24_swish),
    case("ir-14", OPSETS, newest_ir),
    case("external-data-one-file", FILES, one_data_file),
    case("external-data-many-files", FILES, many_data_files),
    case("float16", FORMATS, float16, rtol=2e-3),  # float16 has eleven bits
    case("float16-inside", FORMATS, float16_inside, rtol=2e-3),
    case("bfloat16", FORMATS, bfloat16),
    case("float64", FORMATS, float64),
    case("uint8-image", FORMATS, pixels),
    case("bool-and-int64", FORMATS, booleans),
    case("odd-names", ODD, odd_names),
    case("no-output-shape", ODD, no_output_shape),
    case("unsorted-nodes", ODD, unsorted),
    case("no-opset-of-onnx", ODD, no_opset),
]
