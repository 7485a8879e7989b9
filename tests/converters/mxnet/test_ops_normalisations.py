"""Normalisations: expected values are MXNet 1.9.1's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.mxnet.registry import operators
from tests.converters.mxnet.operators import check, counted, f32, refusal

STATISTICS = [[0, 0.5], [1, 2], [1, 4]]
"""beta, moving_mean, moving_var of two channels."""


def test_gamma_counts_as_1_by_default() -> None:
    expected = f32([[[-0.9995004, 0], [0.5, 0.99993753]]])
    check("BatchNorm", [counted(1, 2, 2), [5, 7], *STATISTICS], expected, constants=(1, 2, 3, 4))


def test_gamma_counts_without_fix_gamma_and_may_be_negative() -> None:
    expected = f32([[[1, 0], [0.5, 4]]])
    inputs = [counted(1, 2, 2), [-1, 7], *STATISTICS]
    check("BatchNorm", inputs, expected, constants=(1, 2, 3, 4), fix_gamma=False, eps=0)


@pytest.mark.parametrize("rank", [2, 3, 4, 5, 6])
def test_batch_norm_takes_any_rank(rank: int) -> None:
    data = counted(1, 2, *(1,) * (rank - 2))
    expected = f32([-1, 0]).reshape(data.shape)
    check("BatchNorm", [data, [5, 7], *STATISTICS], expected, constants=(1, 2, 3, 4), eps=0, use_global_stats=True)


def test_batch_norm_of_the_last_axis() -> None:
    expected = f32([[-0.81649655, -0.4428091, 0.02667147], [1.6329931, 2.3856182, 2.9466572]])
    inputs = [counted(1, 2, 3), [1, 2, 3], [0, 0.5, 1], [1, 2, 3], [1, 4, 9]]
    check("BatchNorm", inputs, expected[None], constants=(1, 2, 3, 4), axis=-1, fix_gamma=False, eps=0.5)


def test_batch_norm_of_the_first_axis_gives_mean_and_inverse_deviation() -> None:
    inputs = [f32([3]), f32([1]), f32([0]), f32([1]), f32([3])]
    attributes = {"axis": 0, "eps": 1, "output_mean_var": True}
    outputs = [f32([1]), f32([1]), f32([0.5])]
    check("BatchNorm", inputs, outputs, constants=(1, 2, 3, 4), symbolic=False, **attributes)


def test_batch_norm_of_float16_has_float32_parameters() -> None:
    data = counted(1, 2, 2).astype(np.float16)
    expected = np.array([[[-1, 0], [0.5, 1]]], np.float16)
    inputs = [data, f32([5, 7]), *map(f32, STATISTICS)]
    check("BatchNorm", inputs, expected, constants=(1, 2, 3, 4), rtol=1e-3)


def test_batch_norm_of_float64() -> None:
    inputs = [np.asarray(each, np.float64) for each in (counted(1, 2, 2), [5, 7], *STATISTICS)]
    expected = np.array([[[-1, 0], [0.5, 1]]], np.float64)
    check("BatchNorm", inputs, expected, constants=(1, 2, 3, 4), eps=0)
    check("BatchNorm", inputs, np.array([[[-1.0, 0.0], [1.0, 1.0]]]), constants=(1, 2, 3, 4), eps=0, axis=2)


def test_batch_norm_with_relu_cuts_at_zero() -> None:
    inputs = [counted(1, 2, 2), [5, 7], *STATISTICS]
    check("_contrib_BatchNormWithReLU", inputs, f32([[[0, 0], [0.5, 1]]]), constants=(1, 2, 3, 4), eps=0)


@pytest.mark.parametrize("name", ["BatchNorm", "_contrib_BatchNormWithReLU"])
def test_running_statistics_are_auxiliary(name: str) -> None:
    operator = operators()[name]
    assert operator.required == ("data", "gamma", "beta", "moving_mean", "moving_var")
    assert operator.auxiliary == {"moving_mean", "moving_var"}


def test_layer_norm_gives_mean_and_deviation_with_eps() -> None:
    data = f32([[1, 2, 4], [3, 3, 9]])
    normalised = f32([[-0.92998, -0.232495, 1.162475], [-0.685994, -0.685994, 1.371989]])
    expected = [normalised, f32([[2.3333333], [5]]), f32([[1.4337209], [2.9154760]])]
    check("LayerNorm", [data, [1, 1, 1], [0, 0, 0]], expected, eps=0.5, output_mean_var=True)
    check("LayerNorm", [data, [1, 1, 1], [0, 0, 0]], normalised, eps=0.5)


def test_layer_norm_of_another_axis() -> None:
    data = f32([[[1, 2], [4, 4]]])
    expected = f32([[[-0.9999978, -0.999995], [2.9999957, 2.99999]]])
    check("LayerNorm", [data, [1, 2], [0, 1]], expected, constants=(1, 2), axis=1)
    check("LayerNorm", [data, [1, 2], [0, 1]], expected, constants=(1, 2), axis=-2)


def test_instance_norm() -> None:
    expected = f32([[[-1.2238274, 0, 1.2238274], [-1.4476547, 1, 3.4476547]]])
    check("InstanceNorm", [counted(1, 2, 3), [1, 2], [0, 1]], expected, constants=(1, 2))


GROUPS = [[[-1.3416355, -0.4472118], [0.4472118, 1.3416355]], [[-1.683271, 0.1055763], [1.8944237, 3.683271]]]


@pytest.mark.parametrize(("gamma", "beta"), [([1, 2], [0, 1]), ([1, 1, 2, 2], [0, 0, 1, 1])])
def test_group_norm_scales_groups_or_channels(gamma: list[float], beta: list[float]) -> None:
    expected = f32(GROUPS).reshape(1, 4, 2)
    check("GroupNorm", [counted(1, 4, 2), gamma, beta], expected, constants=(1, 2), num_groups=2)


def test_group_norm_gives_mean_and_deviation_of_groups() -> None:
    expected = [f32(GROUPS).reshape(1, 4, 2), f32([[1.5, 5.5]]), f32([[1.1180385, 1.1180385]])]
    check(
        "GroupNorm", [counted(1, 4, 2), [1, 2], [0, 1]], expected, constants=(1, 2), num_groups=2, output_mean_var=True
    )


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("instance", [[0.1796053, 0.3592106], [0.5388159, 0.7184212]]),
        ("channel", [[0.3015113, 0.4364358], [0.904534, 0.8728716]]),
        ("spatial", [[0.4082483, 0.8164966], [0.5883484, 0.7844645]]),
    ],
)
def test_l2_normalization_has_eps_inside_the_root(mode: str, expected: list[list[float]]) -> None:
    check("L2Normalization", [counted(1, 2, 2, start=1)], f32([expected]), mode=mode, eps=1)


def test_lrn_adds_2_by_default() -> None:
    expected = f32([0.5945664, 1.1889991, 1.7831644, 2.3776712]).reshape(1, 4, 1, 1)
    check("LRN", [counted(1, 4, 1, 1, start=1)], expected, nsize=3)


def test_lrn_window_may_exceed_the_channels() -> None:
    expected = f32([0.7179362, 1.4358724]).reshape(1, 2, 1, 1)
    check("LRN", [counted(1, 2, 1, 1, start=1)], expected, nsize=9, alpha=1, knorm=1)
    huge = f32([1, 2]).reshape(1, 2, 1, 1)
    check("LRN", [counted(1, 2, 1, 1, start=1)], huge, nsize=1000000001, alpha=1, knorm=1)


ONES = f32([1, 1, 1])


@pytest.mark.parametrize(
    ("op", "data", "attributes", "told"),
    [
        ("BatchNorm", counted(1, 3), {"axis": 2}, "attribute 'axis': expected an axis of a 2-D tensor, got 2"),
        ("BatchNorm", counted(1, 2), {}, "input 'gamma': expected the shape (2), got float32[3]"),
        ("LayerNorm", counted(1, 2), {}, "input 'gamma': expected the shape (2), got float32[3]"),
        ("InstanceNorm", counted(1, 3), {}, "expected data of at least 3 axes, got float32[x0_0,3]"),
        ("GroupNorm", counted(1, 4, 2), {"num_groups": 3}, "expected a divisor of 4 channels, got 3"),
        ("GroupNorm", counted(1, 4, 2), {"num_groups": 2}, "inputs 'gamma' and 'beta': expected 2 or 4 numbers"),
        ("L2Normalization", counted(1, 3), {"mode": "channel"}, "expected data of at least 3 axes"),
        (
            "L2Normalization",
            counted(1, 3),
            {"mode": "batch"},
            "expected one of instance, channel, spatial, got 'batch'",
        ),
        ("LRN", counted(1, 3), {"nsize": 3}, "expected 4-D data, got float32[x0_0,3]"),
        (
            "LRN",
            counted(1, 3, 1, 1),
            {"nsize": 3, "alpha": 0},
            "'alpha' and 'beta': expected positive numbers, got 0.0",
        ),
        ("LRN", counted(1, 3, 1, 1), {"nsize": 2}, "attribute 'nsize': expected an odd number, got 2"),
    ],
)
def test_what_does_not_fit_is_named(op: str, data: np.ndarray, attributes: dict[str, Any], told: str) -> None:
    parameters = [ONES] * (len(operators()[op].required) - 1)
    assert told in refusal(op, [data, *parameters], constants=range(1, 5), **attributes)
