"""Operators that decide by comparing numbers: rounding may not make a right translation look wrong."""

from pathlib import Path

import numpy as np
import pytest

from converters.base import ConversionOptions
from converters.graph import open_session, runner
from converters.mxnet.converter import MXNetConverter
from converters.mxnet.reference.decisions import entries_that_decide, settled
from converters.mxnet.reference.interpreter import run_graph
from converters.mxnet.symbol import Graph
from model_store.manifest import TensorSpec
from tests.converters.mxnet.operators import graph_of
from tests.sources.mxnet_writing import Net

MINE = np.array([1.0, 2.0, 3.0], np.float32)


def test_numbers_within_the_tolerance_are_taken_over() -> None:
    theirs = MINE + np.float32(1e-5)
    assert settled(MINE, theirs, rtol=1e-4) is theirs


@pytest.mark.parametrize(
    "theirs",
    [
        MINE + np.float32(1e-3),
        MINE[:2],
        MINE.astype(np.float64),
        np.array([1.0, np.nan, 3.0], np.float32),
        None,
    ],
    ids=["further off", "other shape", "other dtype", "NaN elsewhere", "none"],
)
def test_other_numbers_are_not(theirs: np.ndarray | None) -> None:
    assert settled(MINE, theirs, rtol=1e-4) is MINE


def test_what_a_variable_holds_needs_no_settling() -> None:
    assert entries_that_decide(graph_of("topk", {"k": 2}, 1)) == ()


def test_only_deciding_operators_get_the_settled_numbers() -> None:
    graph = graph_of("relu", {}, 1)
    relu, decided = graph.nodes[-1], np.array([3.0, 2.0, 1.0], np.float32)
    topk = graph_of("topk", {"k": 1}, 1).nodes[-1]
    chained = Graph((*graph.nodes, type(topk)(topk.op, "top", ((1, 0),), topk.texts)), ((1, 0), (2, 0)), (), 10901)
    assert relu.op == "relu"
    assert entries_that_decide(chained) == ((1, 0),)
    values, first = run_graph(chained, {0: MINE}, {(1, 0): decided}, rtol=1.0)
    assert (values.tolist(), first.tolist()) == ([1.0, 2.0, 3.0], [0.0])


def test_scores_that_differ_in_their_last_bit_do_not_fail_the_comparison(tmp_path: Path) -> None:
    net = Net()
    x = net.dense(net.variable("data"), "scores", 999, 200)
    # Every row holds the same weights in another order, and the data one number only: all scores are equal up to
    # rounding, which is another one in numpy and in ONNX Runtime.
    weight, dice = net.parameters["arg:scores_weight"], np.random.default_rng(0)
    weight[:] = [dice.permutation(weight[0]) for _ in weight]
    net.parameters["arg:scores_bias"][:] = 0
    params = net.save(tmp_path, "ties", net.op("topk", "best", x, k=50))
    inputs = (TensorSpec("data", "FP32", (-1, 999)),)
    conversion = MXNetConverter().convert(params, ConversionOptions(inputs=inputs), tmp_path / "work")
    data = np.repeat(dice.standard_normal((8, 1)), 999, axis=1).astype(np.float32)
    translated = runner(open_session(conversion.model))({"data": data})
    assert translated["best_output"].tolist() == conversion.reference({"data": data})["best_output"].tolist()
