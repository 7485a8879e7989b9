"""Quantised operators: expected values are MXNet 1.9.1's on CPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.mxnet.reference.interpreter import run_graph
from converters.mxnet.symbol import VARIABLE, Graph, Node
from tests.converters.mxnet.operators import LATEST, check, refusal, translated, u8

FLOATS = np.array([[-2.5, -1, -0.004, 0, 0.3, 1.02, 3]], np.float32)


def i8(values: object) -> np.ndarray:
    return np.array(values, np.int8)


def i32(values: object) -> np.ndarray:
    return np.array(values, np.int32)


def end(value: float) -> np.ndarray:
    """One end of a range."""
    return np.array([value], np.float32)


def ends(*values: float) -> list[np.ndarray]:
    return [end(value) for value in values]


@pytest.mark.parametrize(
    ("attributes", "expected", "low", "high"),
    [
        ({"min_calib_range": -2, "max_calib_range": 1}, i8([[-128, -64, 0, 0, 19, 65, 127]]), -2, 2),
        (
            {"out_type": "uint8", "min_calib_range": -4, "max_calib_range": 2},
            u8([[0, 0, 0, 0, 19, 65, 192]]),
            -4,
            2,
        ),
        ({"out_type": "auto", "min_calib_range": 0, "max_calib_range": 2}, u8([[0, 0, 0, 0, 38, 130, 255]]), 0, 2),
        ({}, i8([[-106, -42, 0, 0, 13, 43, 127]]), -3, 3),
        ({"out_type": "uint8"}, u8([[0, 0, 0, 0, 26, 87, 255]]), -2.5, 3),
    ],
)
def test_floats_are_quantised_in_a_calibrated_range_or_their_own(
    attributes: dict[str, Any], expected: np.ndarray, low: float, high: float
) -> None:
    check("_contrib_quantize_v2", [FLOATS], [expected, end(low), end(high)], **attributes)


def test_integers_are_not_quantised_again() -> None:
    expected = [i8([[-128, 5]]), end(-2), end(1)]
    check("_contrib_quantize_v2", [i8([[-128, 5]])], expected, min_calib_range=-2, max_calib_range=1)


def test_the_first_quantize_takes_its_range_from_inputs_and_has_whole_levels() -> None:
    inputs = [FLOATS, *ends(-1, 2)]
    check(
        "_contrib_quantize",
        inputs,
        [i8([[-128, -64, 0, 0, 19, 65, 127]]), *ends(-2, 2)],
        out_type="int8",
        symbolic=True,
    )
    check("_contrib_quantize", inputs, [u8([[0, 0, 0, 0, 38, 130, 255]]), *ends(-1, 2)])


def test_a_step_of_real_numbers_is_a_part_of_127_and_a_half_or_255_and_a_half() -> None:
    check("_contrib_dequantize", [i8([[-128, 51]]), *ends(-2, 2.5)], np.array([[-128 / 51, 1]], np.float32))
    check("_contrib_dequantize", [u8([[0, 73]]), *ends(0, 3.5)], np.array([[0, 1]], np.float32))


WIDE = i32([[-900_000_000, -3_000_000, 0, 40_000_000, 700_000_000]])


@pytest.mark.parametrize(
    ("attributes", "expected", "low", "high"),
    [
        ({"min_calib_range": -1, "max_calib_range": 0.5}, i8([[-128, -1, 0, 12, 127]]), -1, 1),
        ({"min_calib_range": 0, "max_calib_range": 2, "out_type": "auto"}, u8([[0, 0, 0, 12, 208]]), 0, 2),
        ({}, i8([[-127, 0, 0, 6, 99]]), -2.0954757, 2.0954757),
    ],
)
def test_int32_is_narrowed_to_a_calibrated_range_or_its_own(
    attributes: dict[str, Any], expected: np.ndarray, low: float, high: float
) -> None:
    check("_contrib_requantize", [WIDE, *ends(-5, 5)], [expected, end(low), end(high)], **attributes)


@pytest.mark.parametrize(
    ("data", "expected", "limit"),
    [
        (i8([[10, -20, 127], [0, 1, -128]]), [[12288, -9113], [11471, -6441]], 133144.25),
        (u8([[10, 20, 255], [0, 1, 128]]), [[24496, -9345], [24143, -11113]], 66311.06),
    ],
)
def test_fully_connected_brings_its_bias_to_the_steps_of_the_product(
    data: np.ndarray, expected: list[list[int]], limit: float
) -> None:
    inputs = [data, i8([[1, -2, 3], [-128, 127, 5]]), i8([100, -50]), *ends(-2, 1, -0.5, 0.5, -0.93, 0.93)]
    check(
        "_contrib_quantized_fully_connected",
        inputs,
        [i32(expected), *ends(-limit, limit)],
        constants=range(1, 9),
        num_hidden=2,
    )


def test_convolution_of_uint8_adds_its_bias_as_it_is_and_counts_127_levels() -> None:
    expected = [
        [[436, 744, 912, 576], [604, 1248, 1416, 912]],
        [[538, -2850, -2682, 7062], [-9626, -2346, -2178, 17730]],
    ]
    data = np.arange(0, 250, 28, dtype=np.uint8).reshape(1, 1, 3, 3)
    weight = i8([[[[1, -2], [3, 4]]], [[[127, -128], [0, 7]]]])
    inputs = [data, weight, i8([100, -50]), *ends(0, 2, -0.5, 0.5, -1, 1)]
    outputs = [i32([expected]), *ends(-133144.25, 133144.25)]
    check(
        "_contrib_quantized_conv",
        inputs,
        outputs,
        constants=range(1, 9),
        num_filter=2,
        kernel="(2, 2)",
        pad="(0, 1)",
    )


def test_convolution_of_int8_brings_its_bias_to_the_steps_of_the_product() -> None:
    """11899.9 is cut: as MXNet's code for GPUs has it, where alone this runs."""
    inputs = [i8([[[10, -20, 30]]]), i8([[[1, 2]]]), i8([100]), *ends(-2, 2, -0.5, 0.5, -0.937, 0.937)]
    outputs = [i32([[[11869, 11939]]]), *ends(-133144.25, 133144.25)]
    check("_contrib_quantized_conv", inputs, outputs, constants=range(1, 9), num_filter=1, kernel="(2,)")


def test_averages_are_rounded_halves_to_even() -> None:
    data = i8([[[[1, 2, -3, -3], [3, 4, -3, -1]]]])
    attributes = {"kernel": "(2, 2)", "stride": "(2, 2)", "pool_type": "avg"}
    check("_contrib_quantized_pooling", [data, *ends(-2, 1)], [i8([[[[2, -2]]]]), *ends(-2, 1)], **attributes)


def test_joined_tensors_share_the_widest_range() -> None:
    inputs = [i8([[100, -128, 7]]), u8([[255, 3]]), *ends(-2, 1, 0, 3)]
    outputs = [i8([[67, -85, 5, 127, 1]]), *ends(-2, 3)]
    check("_contrib_quantized_concat", inputs, outputs, constants=range(2, 6), symbolic=False, num_args=2, dim=1)


OPERANDS = ends(-2, 1, -0.5, 3)


def test_a_sum_in_a_calibrated_range() -> None:
    inputs = [i8([[100, -128, 7]]), i8([[100, -128, 9]]), *OPERANDS]
    outputs = [i8([[125, -128, 10]]), *ends(-4, 3)]
    calibrated = {"min_calib_range": -4, "max_calib_range": 3}
    check("_contrib_quantized_elemwise_add", inputs, outputs, symbolic=False, **calibrated)


def test_a_sum_without_calibration_is_int32_of_both_ranges_together() -> None:
    """1684300800 and 138112672 of 2^31 in a range of 5, in steps of 127 parts of 5."""
    variables = tuple(Node(VARIABLE, f"x{place}") for place in range(6))
    added = Node("_contrib_quantized_elemwise_add", "add", tuple((place, 0) for place in range(6)))
    calibrated = {"min_calib_range": "-5", "max_calib_range": "5"}
    narrowed = Node("_contrib_requantize", "narrow", ((6, 0), (6, 1), (6, 2)), calibrated)
    graph = Graph((*variables, added, narrowed), ((7, 0), (6, 2)), (), LATEST)
    arrays = [i8([[100, -128, 7]]), i8([[100, -128, 9]]), *OPERANDS]
    for answers in (translated(graph, arrays, symbolic=False), run_graph(graph, dict(enumerate(arrays)))):
        assert answers[0].tolist() == [[100, -127, 8]]
        assert answers[1].tolist() == [5.0]


def test_products_are_cut_and_wrap_in_a_calibrated_range() -> None:
    inputs = [i8([[100, -128, 7]]), i8([[100, -100, 9]]), *OPERANDS]
    outputs = [i8([[117, -106, 0]]), *ends(-4, 3)]
    calibrated = {"min_calib_range": -4, "max_calib_range": 3}
    check("_contrib_quantized_elemwise_mul", inputs, outputs, symbolic=False, **calibrated)


def test_products_as_int32_and_as_floats() -> None:
    inputs = [i8([[100, -128, 7]]), i8([[100, -100, 9]]), *OPERANDS]
    whole = [i32([[10000, 12800, 63]]), *ends(-798865.5, 798865.5)]
    check("_contrib_quantized_elemwise_mul", inputs, whole, symbolic=False)
    real = np.array([[3.6908882, 4.7243366, 0.0232526]], np.float32)
    check("_contrib_quantized_elemwise_mul", inputs, real, symbolic=False, enable_float_output=True)


def test_normalisation_counts_gamma_whatever_fix_gamma_says() -> None:
    statistics = [np.array(each, np.float32) for each in ([2, 0.5], [0.1, -0.3], [0.2, 0.4], [1.5, 0.7])]
    inputs = [i8([[[[100]], [[-20]]]]), *statistics, *ends(-2, 1)]
    outputs = [i8([[[[99]], [[-31]]]]), *ends(-2, 3)]
    attributes = {"min_calib_range": -2, "max_calib_range": 3, "fix_gamma": True}
    check("_contrib_quantized_batch_norm", inputs, outputs, constants=range(1, 7), **attributes)


def test_what_only_moves_integers_keeps_their_range() -> None:
    check("_contrib_quantized_act", [i8([[-3, 4]]), *ends(-2, 1)], [i8([[0, 4]]), *ends(-2, 1)], act_type="relu")
    check("_contrib_quantized_flatten", [i8([[[1], [2]]]), *ends(-2, 1)], [i8([[1, 2]]), *ends(-2, 1)])
    rows = [np.array([0, 9, -1], np.float32), i8([[1, 2], [3, 4]]), *ends(-2, 1)]
    attributes = {"input_dim": 2, "output_dim": 2}
    check("_contrib_quantized_embedding", rows, [i8([[1, 2], [3, 4], [1, 2]]), *ends(-2, 1)], **attributes)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "message"),
    [
        ("_contrib_dequantize", [WIDE, *ends(-1, 1)], {}, "expected int8 or uint8, got int32"),
        ("_contrib_requantize", [FLOATS, *ends(-1, 1)], {}, "expected int32, got float32"),
        ("_contrib_quantize_v2", [FLOATS], {"out_type": "int32"}, "expected int8, uint8 or auto, got 'int32'"),
        ("_contrib_quantized_act", [i8([1]), *ends(-1, 1)], {"act_type": "tanh"}, "expected relu, got 'tanh'"),
        ("_contrib_quantized_act", [u8([1]), *ends(0, 1)], {"act_type": "relu"}, "expected int8, as which MXNet"),
        (
            "_contrib_quantized_elemwise_add",
            [i8([1]), u8([1]), *OPERANDS],
            {},
            "expected two int8 or two uint8 operands",
        ),
        ("_contrib_quantized_elemwise_mul", [u8([1]), u8([1]), *OPERANDS], {}, "expected two int8 operands"),
        (
            "_contrib_quantized_fully_connected",
            [i8([[1]]), i8([[1]]), *ends(-1, 1)],
            {"num_hidden": 1, "no_bias": True},
            "expected low and high of each tensor, got 2 ends of ranges",
        ),
    ],
)
def test_what_mxnet_does_not_compute_is_refused(
    op: str, inputs: list[np.ndarray], attributes: dict[str, Any], message: str
) -> None:
    assert message in refusal(op, inputs, **attributes)
