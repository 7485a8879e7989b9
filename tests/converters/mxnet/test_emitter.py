"""The emitter: what it knows of shapes it did not see, and what it leaves out of the graph."""

import numpy as np
import onnxruntime
import pytest

from converters.mxnet.emitter import Emitter
from converters.mxnet.onnx_nodes import new_model
from converters.mxnet.values import Value
from model_store.errors import ConversionError


def run(
    g: Emitter, inputs: dict[str, np.ndarray], declared: list[Value], output: Value
) -> tuple[np.ndarray, list[str]]:
    model = new_model("test")
    g.finish(model.graph, declared, [("out", output)])
    session = onnxruntime.InferenceSession(g.serialized(model), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0], [node.op_type for node in model.graph.node]


def test_reshape_with_one_unknown_size_needs_no_shape_at_run_time() -> None:
    g = Emitter()
    x = g.input("x", np.dtype("float32"), ("n", 3, 4))
    y = g.reshape(x, ("n", g.product(x.shape[1:])))
    got, ops = run(g, {"x": np.zeros((5, 3, 4), np.float32)}, [x], y)
    assert (y.shape, got.shape, ops) == (("n", 12), (5, 12), ["Reshape", "Identity"])


def test_product_of_unknown_sizes_is_computed_in_the_graph() -> None:
    g = Emitter()
    x = g.input("x", np.dtype("float32"), ("n", "h", "w", 2))
    flat = g.reshape(x, ("n", g.product(x.shape[1:3]), 2))
    back = g.reshape(flat, ("n", "h", "w", 2))
    got, _ = run(g, {"x": np.zeros((2, 3, 5, 2), np.float32)}, [x], back)
    assert (back.shape, got.shape) == (("n", "h", "w", 2), (2, 3, 5, 2))


def test_sizes_of_one_name_are_measured_once() -> None:
    g = Emitter()
    g.input("x", np.dtype("float32"), ("n", "m"))
    assert g.size("m") is g.size("m")
    assert g.constant(g.size(7)) is not None


def test_number_takes_the_dtype_of_the_value_beside_it() -> None:
    g = Emitter()
    x = g.input("x", np.dtype("int32"), (2,))
    got, _ = run(g, {"x": np.array([3, 4], np.int32)}, [x], 10 - x * 2)
    assert (got.dtype, got.tolist()) == (np.int32, [4, 2])


def test_value_that_depends_on_no_input_is_known() -> None:
    g = Emitter()
    weight = g.weight(np.dtype("float32"), (2, 2), lambda: np.array([[1, 2], [3, 4]], np.float32))
    known = g.constant(g.reshape(weight.transpose(1, 0), (4,)))
    assert known is not None
    assert known.tolist() == [1, 3, 2, 4]
    assert g.constant(g.input("x", np.dtype("float32"), (1,)) + 1) is None


def test_value_that_others_share_is_computed_once() -> None:
    g = Emitter()
    x = g.ints(1)
    for _ in range(60):
        x = x + x
    known = g.constant(x)
    assert known is not None
    assert known.tolist() == [2**60]


def test_depth_of_what_leads_to_a_constant_has_no_limit() -> None:
    g = Emitter()
    x = g.const(np.zeros(300, np.float32))
    for _ in range(1500):
        x = x + 1
    known = g.constant(x + x)
    assert known is not None
    assert known.tolist() == [3000] * 300


def test_shape_of_weights_is_known_without_reading_them() -> None:
    def read() -> np.ndarray:
        raise AssertionError("read")

    g = Emitter()
    shape = g.constant(g.emit("Shape", g.weight(np.dtype("float32"), (7, 9), read)))
    assert shape is not None
    assert shape.tolist() == [7, 9]


def test_nodes_and_weights_that_nobody_needs_are_left_out() -> None:
    g = Emitter()
    x = g.input("x", np.dtype("float32"), (2,))
    g.emit("Exp", x + g.weight(np.dtype("float32"), (2,), lambda: np.ones(2, np.float32)))
    model = new_model("test")
    g.finish(model.graph, [x], [("out", -x)])
    assert [node.op_type for node in model.graph.node] == ["Neg", "Identity"]
    assert list(model.graph.initializer) == []


def test_inputs_that_do_not_fit_the_operator_are_refused_with_their_shapes() -> None:
    g = Emitter()
    x = g.input("x", np.dtype("float32"), ("n", 3))
    with pytest.raises(ConversionError, match=r"MatMul does not take float32\[n,3\], float32\[4,5\]"):
        g.emit("MatMul", x, g.const(np.zeros((4, 5), np.float32)))


def test_inner_graph_measures_sizes_of_the_outer_one() -> None:
    g = Emitter()
    x = g.input("x", np.dtype("float32"), ("n", 2))
    condition = g.input("c", np.dtype("bool"), ())
    branches = {}
    for name, value in (("then_branch", 1.0), ("else_branch", 2.0)):
        inner = g.subgraph()
        filled = inner.emit("Expand", inner.const(np.float32(value)), inner.sizes(x.shape), shape=x.shape)
        model = new_model(name)
        branches[name] = inner.finish(model.graph, [], [(f"{name}_out", filled)])
    (out,) = g.emit_many("If", condition, outputs=1, types=[x], **branches)
    got, _ = run(g, {"x": np.zeros((3, 2), np.float32), "c": np.array(False)}, [x, condition], out)
    assert got.tolist() == [[2, 2]] * 3
