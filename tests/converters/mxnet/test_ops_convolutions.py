"""Convolution, Deconvolution, FullyConnected: expected values are MXNet 1.9.1's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.mxnet.operators import check, counted, f32, refusal


def test_convolution_of_one_axis_has_groups_stride_dilate_and_pad() -> None:
    check(
        "Convolution",
        [counted(1, 2, 5), counted(4, 1, 2, start=-3), [1, 2, 3, 4]],
        f32([[[-1, -8, -8], [2, 1, -1], [15, 25, 11], [28, 54, 28]]]),
        constants=(1, 2),
        kernel="(2,)",
        num_filter=4,
        num_group=2,
        stride="(2,)",
        dilate="(2,)",
        pad="(1,)",
    )


def test_kernel_stride_and_pad_may_differ_between_axes() -> None:
    check(
        "Convolution",
        [counted(1, 1, 3, 4), counted(1, 1, 2, 1, start=1)],
        f32([[[[0, 4], [8, 14], [20, 26], [8, 10]]]]),
        kernel="(2, 1)",
        num_filter=1,
        no_bias=True,
        stride="[1, 2]",
        pad="(1,0)",
    )


def test_convolution_of_three_axes() -> None:
    check(
        "Convolution",
        [counted(1, 1, 2, 2, 2), counted(1, 1, 1, 2, 2)],
        f32([[[[[3], [14], [3]], [[23], [38], [7]]]]]),
        kernel="(1, 2, 2)",
        num_filter=1,
        no_bias=True,
        pad="(0, 1, 0)",
    )


def test_channels_last_has_the_weights_channels_last_too() -> None:
    data, weight = counted(1, 2, 3, 2), counted(3, 1, 2, 2)
    first = np.einsum("nijc,ojc->nio", data[:, :, :2], weight[:, 0]) + 0
    second = np.einsum("nijc,ojc->nio", data[:, :, 1:], weight[:, 0])
    expected = np.stack([first, second], axis=2)
    check("Convolution", [data, weight], expected, kernel="(1, 2)", num_filter=3, no_bias=True, layout="NHWC")


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_keep_their_dtype(dtype: type) -> None:
    data, weight = counted(1, 1, 3).astype(dtype), counted(1, 1, 2).astype(dtype)
    expected = np.array([[[1, 2]]], dtype)
    check("Convolution", [data, weight], expected, kernel="(2,)", num_filter=1, no_bias=True)
    check("Deconvolution", [data, weight], np.array([[[0, 0, 1, 2]]], dtype), kernel="(2,)", num_filter=1)
    check("FullyConnected", [data, counted(2, 3).astype(dtype)], np.array([[5, 14]], dtype), num_hidden=2)


def test_deconvolution_adds_adj_at_the_end() -> None:
    check(
        "Deconvolution",
        [counted(1, 2, 3), counted(2, 1, 3), [0.5]],
        f32([[[12.5, 27.5, 17.5, 37.5, 22.5, 29.5]]]),
        kernel="(3,)",
        num_filter=1,
        no_bias=False,
        stride="(2,)",
        pad="(1,)",
        adj="(1,)",
    )


def test_deconvolution_has_groups_and_dilate() -> None:
    expected = f32(
        [
            [[0, 1, 0, 2], [0, 3, 0, 4], [2, 3, 4, 6], [6, 9, 8, 12]],
            [[20, 25, 24, 30], [28, 35, 32, 40], [30, 35, 36, 42], [42, 49, 48, 56]],
        ]
    )
    check(
        "Deconvolution",
        [counted(1, 2, 2, 2), counted(2, 1, 2, 2, start=1)],
        expected[None],
        kernel="(2, 2)",
        num_filter=2,
        num_group=2,
        stride="(2, 1)",
        dilate="(1, 2)",
    )


def test_deconvolution_of_three_axes() -> None:
    expected = f32([[[0, 1, 2], [0, 0, 0], [2, 7, 6]], [[0, 3, 4], [0, 0, 0], [6, 17, 12]]])
    check(
        "Deconvolution",
        [counted(1, 1, 1, 2, 2), counted(1, 1, 2, 1, 2, start=1)],
        expected[None, None],
        kernel="(2, 1, 2)",
        num_filter=1,
        stride="(1, 2, 1)",
    )


def test_target_shape_cuts_an_odd_element_at_the_start() -> None:
    check(
        "Deconvolution",
        [counted(1, 1, 2, 2, start=1), counted(1, 1, 3, 3, start=1)],
        f32([[[[4, 5, 14, 10, 12], [10, 14, 36, 24, 30], [12, 15, 34, 20, 24], [21, 24, 55, 32, 36]]]]),
        kernel="(3, 3)",
        num_filter=1,
        stride="(2, 2)",
        target_shape="(4, 5)",
    )


def test_target_shape_replaces_pad_and_adj() -> None:
    check(
        "Deconvolution",
        [counted(1, 1, 3, start=1), counted(1, 1, 3, start=1)],
        f32([[[2, 5, 4, 9, 6, 9]]]),
        kernel="(3,)",
        num_filter=1,
        stride="(2,)",
        target_shape="(6,)",
        pad="(7,)",
        adj="(1,)",
    )


def test_target_shape_of_zeros_counts_as_absent() -> None:
    check(
        "Deconvolution",
        [counted(1, 1, 2), counted(1, 1, 1, start=3)],
        f32([[[0, 3]]]),
        kernel="(1,)",
        num_filter=1,
        target_shape="(0,)",
    )


def test_fully_connected_flattens_by_default() -> None:
    check(
        "FullyConnected",
        [counted(2, 2, 2), counted(3, 4), [1, 2, 3]],
        f32([[15, 40, 65], [39, 128, 217]]),
        constants=(1, 2),
        num_hidden=3,
    )


def test_fully_connected_keeps_leading_axes_without_flatten() -> None:
    check(
        "FullyConnected",
        [counted(2, 2, 2), counted(3, 2), [1, 2, 3]],
        f32([[[2, 5, 8], [4, 15, 26]], [[6, 25, 44], [8, 35, 62]]]),
        constants=(1, 2),
        num_hidden=3,
        flatten=False,
    )


def test_a_vector_is_one_row_without_flatten_and_a_column_with_it() -> None:
    check("FullyConnected", [[0, 1], counted(3, 2)], f32([1, 3, 5]), symbolic=False, num_hidden=3, flatten=False)
    check("FullyConnected", [[0, 1], counted(3, 1)], f32([[0, 0, 0], [0, 1, 2]]), num_hidden=3)


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"kernel": "(3,)"}, "attribute 'kernel': expected one size for each spatial axis of 4-D data, got (3,)"),
        ({"stride": "(1,)"}, "attribute 'stride': expected 2 numbers from 1 to 8192, got (1,)"),
        ({"stride": "(0, 1)"}, "attribute 'stride': expected 2 numbers from 1 to 8192, got (0, 1)"),
        ({"pad": "(1000000000000, 0)"}, "attribute 'pad': expected 2 numbers from 0 to 8192, got (1000000000000, 0)"),
        ({"layout": "NCW"}, "attribute 'layout': expected a layout of 4-D data, got 'NCW'"),
        ({"num_group": "3"}, "attribute 'num_group': 3 does not divide 4 filters and data"),
        ({"num_group": "0"}, "attribute 'num_group': 0 does not divide 4 filters and data"),
        ({"num_filter": "6"}, "input 'weight': expected the shape (6, 2, 3, 3), got"),
    ],
)
def test_attributes_that_do_not_fit_the_data_are_named(attributes: dict[str, str], told: str) -> None:
    inputs = [np.zeros((1, 2, 5, 5), np.float32), np.zeros((4, 2, 3, 3), np.float32)]
    wanted: dict[str, Any] = {"kernel": "(3, 3)", "num_filter": 4, "no_bias": True} | attributes
    assert told in refusal("Convolution", inputs, constants=(1,), **wanted)


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"adj": "(2,)"}, "attribute 'adj': expected less than stride (2,), got (2,)"),
        ({"target_shape": "(30,)"}, "attribute 'target_shape': (30,) is more than data float32[x0_0,1,4] gives"),
    ],
)
def test_sizes_that_no_deconvolution_gives_are_refused(attributes: dict[str, str], told: str) -> None:
    inputs = [np.zeros((1, 1, 4), np.float32), np.zeros((1, 1, 3), np.float32)]
    assert told in refusal("Deconvolution", inputs, kernel="(3,)", num_filter=1, stride="(2,)", **attributes)


def test_weights_of_another_size_are_refused() -> None:
    inputs = [np.zeros((2, 3), np.float32), np.zeros((4, 2), np.float32)]
    told = refusal("FullyConnected", inputs, num_hidden=4, constants=(1,))
    assert "input 'weight': expected the shape (4, 3), got float32[4,2]" in told
    inputs = [np.zeros((2, 3), np.float32), np.zeros((4, 3), np.float32), np.zeros(3, np.float32)]
    told = refusal("FullyConnected", inputs, num_hidden=4, constants=(1, 2))
    assert "input 'bias': expected the shape (4), got float32[3]" in told


def test_integers_are_not_multiplied() -> None:
    inputs = [np.zeros((2, 3), np.int32), np.zeros((4, 3), np.int32)]
    assert "expected floats, got int32[x0_0,3]" in refusal("FullyConnected", inputs, num_hidden=4)


def test_padding_without_measure_is_refused() -> None:
    inputs = [np.zeros((1, 1, 5, 5), np.float32), np.zeros((8, 1, 1, 1), np.float32)]
    attributes = {"kernel": "(1, 1)", "num_filter": 8, "no_bias": True, "pad": "(8192, 8192)"}
    assert "expected a shape of at most" in refusal("Convolution", inputs, constants=(1,), **attributes)
