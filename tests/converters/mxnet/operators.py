"""One operator, tried in both ways: translated for ONNX Runtime, and in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest

from converters.graph import session_options
from converters.mxnet.aliases import CANONICAL
from converters.mxnet.emitter import Emitter
from converters.mxnet.onnx_nodes import new_model
from converters.mxnet.reference.interpreter import run_graph
from converters.mxnet.reference.registry import numpy_operators
from converters.mxnet.symbol import VARIABLE, Graph, Node, Origin
from converters.mxnet.translate import translate
from model_store.errors import ConversionError

LATEST = 10901
DTYPES = ["float32", "float64", "float16", "int32", "int64", "int8", "uint8", "bool"]


def counted(*shape: int, start: int = 0, dtype: str = "float32") -> np.ndarray:
    """0, 1, 2, .. in a shape, or from `start` on."""
    return np.arange(start, start + np.prod(shape), dtype=dtype).reshape(shape)


def sines(start: int, *shape: int) -> np.ndarray:
    """Small values of both signs."""
    return np.sin(np.arange(start, start + int(np.prod(shape)))).astype(np.float32).reshape(shape)


def waves(*shape: int) -> np.ndarray:
    """Values without a pattern that a wrong index would keep."""
    return np.sin(np.arange(1, 1 + np.prod(shape)) ** 2).reshape(shape).astype(np.float32)


def f32(values: object) -> np.ndarray:
    """As the dtype that MXNet computes in unless told otherwise."""
    return np.array(values, np.float32)


def f64(values: object) -> np.ndarray:
    return np.array(values, np.float64)


def u8(values: object) -> np.ndarray:
    return np.array(values, np.uint8)


def graph_of(
    op: str, attrs: Mapping[str, Any], inputs: int, outputs: int = 1, version: int = LATEST, numpy_shapes: bool = False
) -> Graph:
    """A graph of one node."""
    variables = tuple(Node(VARIABLE, f"x{place}") for place in range(inputs))
    texts = {key: str(value) for key, value in attrs.items()}
    node = Node(CANONICAL.get(op, op), "node", tuple((place, 0) for place in range(inputs)), texts)
    heads = tuple((inputs, place) for place in range(outputs))
    return Graph((*variables, node), heads, (), Origin(version, numpy_shapes))


def translated(
    graph: Graph, arrays: Sequence[np.ndarray | None], *, constants: Sequence[int] = (), symbolic: bool = True
) -> list[np.ndarray]:
    """The outputs in ONNX Runtime. Inputs in `constants` are weights; with `symbolic` the first size of every other
    input of rank 1 or more is unknown to the translation."""
    g = Emitter()
    values: dict[int, Any] = {}
    feeds = {}
    for place, array in enumerate(arrays):
        if array is None:
            values[place] = None
        elif place in constants:
            values[place] = g.const(array)
        else:
            first: tuple[Any, ...] = (f"x{place}_0",) if symbolic and array.ndim else array.shape[:1]
            values[place] = g.input(f"x{place}", array.dtype, (*first, *array.shape[1:]))
            feeds[f"x{place}"] = array
    heads = translate(graph, g, values)
    model = new_model("operator")
    declared = [values[int(name[1:])] for name in feeds]
    g.finish(model.graph, declared, [(f"output{place}", head) for place, head in enumerate(heads)])
    session = onnxruntime.InferenceSession(
        g.serialized(model), session_options(threads=1), providers=["CPUExecutionProvider"]
    )
    return [np.asarray(array) for array in session.run(None, feeds)]


def check(
    op: str,
    inputs: Sequence[Any],
    expected: Any,
    *,
    constants: Sequence[int] = (),
    symbolic: bool = True,
    version: int = LATEST,
    numpy_shapes: bool = False,
    rtol: float = 1e-5,
    **attrs: Any,
) -> None:
    """Asserts what `op` gives: `expected` is one array, or a list of arrays, one for each output.

    Inputs that are lists become float32. dtype and shape count. numpy's operator is asked too where there is one.
    """
    arrays = [None if each is None else np.asarray(each, None if _typed(each) else np.float32) for each in inputs]
    wanted = [np.asarray(each) for each in (expected if isinstance(expected, list) else [expected])]
    graph = graph_of(op, attrs, len(arrays), len(wanted), version, numpy_shapes)
    _compare(translated(graph, arrays, constants=constants, symbolic=symbolic), wanted, rtol, "ONNX Runtime")
    if graph.nodes[-1].op in numpy_operators():
        _compare(run_graph(graph, dict(enumerate(arrays))), wanted, rtol, "numpy")


def refusal(op: str, inputs: Sequence[Any], *, constants: Sequence[int] = (), **attrs: Any) -> str:
    """The message with which the translation refuses."""
    arrays = [None if each is None else np.asarray(each, None if _typed(each) else np.float32) for each in inputs]
    with pytest.raises(ConversionError) as error:
        translated(graph_of(op, attrs, len(arrays)), arrays, constants=constants)
    return error.value.message


def _typed(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic)


def _compare(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray], rtol: float, who: str) -> None:
    assert len(got) == len(wanted), who
    for place, (each, want) in enumerate(zip(got, wanted, strict=True)):
        assert (each.dtype, each.shape) == (want.dtype, want.shape), f"{who}, output {place}"
        if want.dtype.kind == "f":
            finite = np.abs(want[np.isfinite(want)])
            np.testing.assert_allclose(each, want, rtol=rtol, atol=rtol * finite.max(initial=0), err_msg=who)
        else:
            np.testing.assert_array_equal(each, want, err_msg=f"{who}, output {place}")
