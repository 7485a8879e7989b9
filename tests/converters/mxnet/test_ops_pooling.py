"""Pooling: expected values are MXNet 1.9.1's."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from converters.mxnet.emitter import Emitter
from converters.mxnet.onnx_nodes import new_model
from converters.mxnet.translate import translate
from tests.converters.mxnet.operators import check, f32, graph_of, refusal

LOWEST = float(np.finfo(np.float32).min)
SQUARE = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
THIRD = {"kernel": "(3, 3)", "stride": "(2, 2)", "pad": "(1, 1)", "pool_type": "avg"}
KERNEL_9 = {"kernel": "(3, 3)", "pad": "(2, 2)", "stride": "(3, 3)", "pooling_convention": "full"}


def line(*values: float) -> np.ndarray:
    return f32([[values]])


@pytest.mark.parametrize(
    ("convention", "include", "expected"),
    [
        ("valid", None, [[14 / 9, 10 / 3], [19 / 3, 11]]),
        ("valid", False, [[3.5, 5], [9.5, 11]]),
        ("full", None, [[14 / 9, 10 / 3, 2], [19 / 3, 11, 6], [4.5, 7.5, 4]]),
        ("full", True, [[14 / 9, 10 / 3, 2], [19 / 3, 11, 6], [4.5, 7.5, 4]]),
        ("full", False, [[3.5, 5, 6], [9.5, 11, 12], [13.5, 15, 16]]),
    ],
)
def test_an_average_divides_by_the_window_within_padding_or_data(
    convention: str, include: bool | None, expected: list[list[float]]
) -> None:
    attributes: dict[str, Any] = THIRD | {"pooling_convention": convention}
    if include is not None:
        attributes["count_include_pad"] = include
    check("Pooling", [SQUARE], f32([[expected]]), **attributes)


def test_the_old_average_divides_by_the_whole_kernel() -> None:
    expected = [[14 / 9, 10 / 3, 4 / 3], [19 / 3, 11, 4], [3, 5, 16 / 9]]
    check("Pooling_v1", [SQUARE], f32([[expected]]), **THIRD, pooling_convention="full")


def test_stride_is_1_by_default() -> None:
    check("Pooling", [line(3, 1, 2, 0)], line(3, 2, 2), kernel="(2,)")


def test_full_has_a_window_for_every_element() -> None:
    check("Pooling", [line(0, 1, 2, 3, 4)], line(1, 4), kernel="(2,)", stride="(4,)", pooling_convention="full")


def test_windows_wholly_in_the_padding_give_zero() -> None:
    check("Pooling", [SQUARE], f32([[[[1, 9, 0], [27, 99, 0], [0, 0, 0]]]]), **KERNEL_9, pool_type="sum")
    expected = f32([[[[1, 3, 0], [9, 11, 0], [0, 0, 0]]]])
    check("Pooling", [SQUARE], expected, **KERNEL_9, pool_type="avg", count_include_pad=False)


def test_windows_wholly_in_the_padding_give_the_lowest_number_for_max() -> None:
    expected = f32([[[[1, 4, LOWEST], [13, 16, LOWEST], [LOWEST, LOWEST, LOWEST]]]])
    attributes = {"kernel": "(2, 2)", "pad": "(1, 1)", "stride": "(3, 3)", "pooling_convention": "full"}
    check("Pooling", [SQUARE], expected, **attributes)


def test_padding_may_exceed_the_kernel() -> None:
    check("Pooling", [line(5, 6)], line(LOWEST, LOWEST, 5, 6, LOWEST, LOWEST), kernel="(1,)", pad="(2,)")
    check("Pooling", [line(5, 6)], line(0, 0, 5, 6, 0, 0), kernel="(1,)", pad="(2,)", pool_type="sum")
    check(
        "Pooling",
        [line(4, 6)],
        line(0, 0, 4, 5, 6, 0, 0),
        kernel="(2,)",
        pad="(3,)",
        pool_type="avg",
        count_include_pad=0,
    )


@pytest.mark.parametrize(
    ("power", "expected"),
    [(1, [-3, -1, 1]), (2, [np.sqrt(5), 1, 1]), (3, [-np.cbrt(9), -1, 1])],
)
def test_lp_keeps_signs(power: int, expected: list[float]) -> None:
    check("Pooling", [line(-2, -1, 0, 1)], line(*expected), kernel="(2,)", pool_type="lp", p_value=power)


@pytest.mark.parametrize(("kind", "expected"), [("max", 16), ("avg", 8.5), ("sum", 136), ("lp", 38.67816)])
def test_global_pooling_ignores_kernel_stride_and_pad(kind: str, expected: float) -> None:
    attributes = {"kernel": "(2, 2)", "stride": "(3, 3)", "pad": "(3, 3)", "pooling_convention": "full", "p_value": 2}
    check("Pooling", [SQUARE], f32([[[[expected]]]]), global_pool=True, pool_type=kind, **attributes)


def test_global_pooling_needs_no_kernel_and_takes_any_rank() -> None:
    check("Pooling", [line(1, 5)], line(3), global_pool="True", pool_type="avg")
    check("Pooling", [SQUARE.reshape(1, 2, 2, 2, 2)], f32([8, 16]).reshape(1, 2, 1, 1, 1), global_pool="1")


def test_three_axes() -> None:
    data = np.arange(12, dtype=np.float32).reshape(1, 1, 2, 2, 3)
    check("Pooling", [data], f32([5, 6]).reshape(1, 1, 1, 1, 2), kernel="(2, 2, 2)", pool_type="avg")


def test_channels_may_come_last() -> None:
    data = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
    attributes = {"kernel": "(3,)", "stride": "(2,)", "pad": "(1,)", "pooling_convention": "full"}
    expected = f32([[[1.5, 2.5, 3.5], [6, 7, 8], [9, 10, 11]]])
    check("Pooling", [data], expected, layout="NWC", pool_type="avg", count_include_pad=False, **attributes)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize(("kind", "expected"), [("max", [1, 3, 4]), ("avg", [0.5, 2.5, 2]), ("sum", [1, 5, 4])])
def test_other_precisions_keep_their_dtype(dtype: type, kind: str, expected: list[float]) -> None:
    attributes = {"kernel": "(2,)", "stride": "(2,)", "pad": "(1,)", "pooling_convention": "full", "pool_type": kind}
    check("Pooling", [np.array([[[1, 2, 3, 4]]], dtype)], np.array([[expected]], dtype), **attributes)


@pytest.mark.parametrize("kind", ["max", "avg", "sum", "lp"])
@pytest.mark.parametrize("include", [True, False])
def test_sizes_that_are_not_known_give_what_known_sizes_give(kind: str, include: bool) -> None:
    attributes = {**KERNEL_9, "pool_type": kind, "p_value": 2, "count_include_pad": include}
    g = Emitter()
    data = g.input("data", np.dtype(np.float32), (1, 1, "height", "width"))
    (unknown,) = translate(graph_of("Pooling", attributes, 1), g, {0: data})
    model = new_model("unknown sizes")
    g.finish(model.graph, [data], [("pooled", unknown)])
    session = onnxruntime.InferenceSession(g.serialized(model), providers=["CPUExecutionProvider"])
    for size in range(1, 9):
        square = np.arange(size * size, dtype=np.float32).reshape(1, 1, size, size)
        check("Pooling", [square], session.run(None, {"data": square})[0], **attributes)


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"pooling_convention": "same"}, "attribute 'pooling_convention': expected valid or full, got 'same'"),
        ({"pool_type": "min"}, "attribute 'pool_type': expected one of avg, lp, max, sum, got 'min'"),
        ({"pool_type": "lp"}, "attribute 'p_value' is missing"),
        ({"pool_type": "lp", "p_value": 4}, "attribute 'p_value': expected 1, 2 or 3, got 4"),
        ({"kernel": "(5, 5)"}, "attribute 'kernel': (5, 5) exceeds the padded data"),
        ({"kernel": "()"}, "attribute 'kernel': expected one size for each spatial axis of 4-D data, got ()"),
        ({"stride": "(2,)"}, "attribute 'stride': expected 2 numbers"),
        ({"layout": "NWC"}, "attribute 'layout': expected a layout of 4-D data, got 'NWC'"),
    ],
)
def test_what_mxnet_can_not_pool_is_refused(attributes: dict[str, Any], told: str) -> None:
    assert told in refusal("Pooling", [SQUARE], **{"kernel": "(2, 2)"} | attributes)
