"""Activations: expected values are MXNet 1.9.1's, but for what came with 2.x: log_sigmoid, mish, gelu_tanh."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.mxnet.operators import check, f32, refusal

DATA = np.array([-3, -0.5, 0, 0.5, 3], np.float32)
WIDE = np.array([-120, -88.5, 0, 90, 120], np.float32)
INTEGERS = np.array([-120, -2, 0, 30, 90], np.int32)


ACTIVATIONS = {
    "relu": [0, 0, 0, 0.5, 3],
    "sigmoid": [0.04742587, 0.37754065, 0.5, 0.62245935, 0.95257413],
    "tanh": [-0.99505478, -0.46211717, 0, 0.46211717, 0.99505478],
    "softrelu": [0.04858732, 0.47407699, 0.69314724, 0.97407699, 3.04858732],
    "softsign": [-0.75, -0.33333334, 0, 0.33333334, 0.75],
    "log_sigmoid": [-3.04858735, -0.97407698, -0.69314718, -0.47407698, -0.04858735],
    "mish": [-0.14564745, -0.22074252, 0, 0.37524524, 2.98653525],
}


@pytest.mark.parametrize(("kind", "expected"), ACTIVATIONS.items())
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-6), (np.float64, 1e-6), (np.float16, 2e-3)])
def test_activation_by_type_and_precision(kind: str, expected: list[float], dtype: type, rtol: float) -> None:
    check("Activation", [DATA.astype(dtype)], np.array(expected, dtype), act_type=kind, rtol=rtol)


def test_large_numbers_do_not_overflow() -> None:
    check("Activation", [WIDE], f32([0, 0, np.log(2), 90, 120]), act_type="softrelu")
    check("Activation", [WIDE], f32([0, 0, 0.5, 1, 1]), act_type="sigmoid")
    check("log_sigmoid", [WIDE], f32([-120, -88.5, -np.log(2), 0, 0]))


@pytest.mark.parametrize("name", ["sigmoid", "_npx_sigmoid", "softsign", "log_sigmoid", "mish"])
def test_operators_of_their_own_do_what_activation_does(name: str) -> None:
    check(name, [DATA], f32(ACTIVATIONS[name.removeprefix("_npx_")]), rtol=1e-6)


@pytest.mark.parametrize("name", ["relu", "_npx_relu", "_sparse_relu"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8", "int32", "int64"])
def test_relu_of_every_dtype(name: str, dtype: str) -> None:
    check(name, [INTEGERS.astype(dtype)], np.array([0, 0, 0, 30, 90], dtype))


def test_relu_of_unsigned_integers_changes_nothing() -> None:
    check("relu", [np.array([0, 7, 255], np.uint8)], np.array([0, 7, 255], np.uint8))


def test_sigmoid_of_integers_is_computed_in_doubles_and_cut() -> None:
    check("sigmoid", [INTEGERS], np.array([0, 0, 0, 0, 1], np.int32))
    check("softsign", [INTEGERS * 1000000], np.array([0, 0, 0, 0, 0], np.int32))


def test_hard_sigmoid() -> None:
    check("hard_sigmoid", [DATA], f32([0, 0.4, 0.5, 0.6, 1]))
    check("hard_sigmoid", [DATA], f32([1, 1, 1, 0.95, 0.7]), alpha=-0.1, beta=1)
    check("hard_sigmoid", [DATA.astype(np.float64)], np.array([0, 0.4, 0.5, 0.6, 1]))


LEAKY = {
    "leaky": [-0.75, -0.125, 0, 0.5, 3],
    "elu": [-0.23755324, -0.09836735, 0, 0.5, 3],
    "selu": [-1.67056882, -0.69175822, 0, 0.52535051, 3.15210295],
    "gelu": [-0.00404987, -0.15426877, 0, 0.3457312, 2.99594998],
    "gelu_erf": [-0.00404987, -0.15426877, 0, 0.3457312, 2.99594998],
    "gelu_tanh": [-0.00363739, -0.15428599, 0, 0.34571401, 2.99636261],
    "rrelu": [-0.68849999, -0.11475, 0, 0.5, 3],
}


@pytest.mark.parametrize(("kind", "expected"), LEAKY.items())
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-6), (np.float64, 1e-6), (np.float16, 2e-3)])
def test_leaky_by_type_and_precision(kind: str, expected: list[float], dtype: type, rtol: float) -> None:
    check("LeakyReLU", [DATA.astype(dtype)], np.array(expected, dtype), act_type=kind, rtol=rtol)


def test_slope_is_a_quarter_by_default_and_leaky_the_type() -> None:
    check("LeakyReLU", [DATA], f32(LEAKY["leaky"]))
    check("LeakyReLU", [DATA], f32([-0.3, -0.05, 0, 0.5, 3]), slope=0.1)
    check("LeakyReLU", [DATA], f32([0.95021296, 0.39346933, 0, 0.5, 3]), act_type="elu", slope=-1)


def test_rrelu_has_the_mean_of_its_bounds_as_slope() -> None:
    check("LeakyReLU", [DATA], f32([-1.5, -0.25, 0, 0.5, 3]), act_type="rrelu", lower_bound=0.25, upper_bound=0.75)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 2), (1, 3, 2, 2), (1, 3, 1, 2, 2)])
def test_prelu_has_a_slope_for_each_channel(shape: tuple[int, ...]) -> None:
    slopes = f32([0.1, 0.2, 0.3])
    expected = np.broadcast_to(-slopes.reshape(-1, *(1,) * (len(shape) - 2)), shape)
    check("LeakyReLU", [-np.ones(shape, np.float32), slopes], expected, constants=(1,), act_type="prelu")
    check("LeakyReLU", [-np.ones(shape, np.float32), slopes[None]], expected, constants=(1,), act_type="prelu")


def test_prelu_may_share_one_slope() -> None:
    for shape in [(3,), (2, 3), (1, 3, 2, 2)]:
        data = -np.ones(shape, np.float32)
        check("LeakyReLU", [data, [0.5]], data / 2, constants=(1,), act_type="prelu")


def test_prelu_of_a_vector_has_a_slope_for_each_element() -> None:
    check("LeakyReLU", [[-1, -1, 1], [0.1, 0.2, 0.3]], f32([-0.1, -0.2, 1]), symbolic=False, act_type="prelu")


def test_prelu_of_float64() -> None:
    inputs = [np.array([[-1.0, -1.0]]), np.array([0.5, 0.25])]
    check("LeakyReLU", inputs, np.array([[-0.5, -0.25]]), constants=(1,), act_type="prelu")


def test_smooth_l1_is_a_parabola_within_1_by_the_square_of_scalar() -> None:
    check("smooth_l1", [[-3, -0.5, 0.3, 2]], f32([2.5, 0.125, 0.045, 1.5]))
    check("smooth_l1", [[-3, -0.1, 0.3, 2]], f32([2.875, 0.02, 0.175, 1.875]), scalar=2)
    check("smooth_l1", [[-3, 2]], f32([0, 0]), scalar=0)


def test_smooth_l1_of_integers_cuts_scalar_and_result() -> None:
    check("smooth_l1", [INTEGERS], np.array([119, 1, 0, 29, 89], np.int32), scalar=2)
    check("smooth_l1", [INTEGERS], np.array([0, 0, 0, 0, 0], np.int32), scalar=0.5)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "told"),
    [
        ("Activation", [DATA], {}, "attribute 'act_type' is missing"),
        ("Activation", [DATA], {"act_type": "swish"}, "attribute 'act_type': expected one of relu, sigmoid, tanh"),
        (
            "LeakyReLU",
            [DATA],
            {"act_type": "swish"},
            "expected one of leaky, elu, selu, gelu, gelu_erf",
        ),
        ("LeakyReLU", [DATA], {"act_type": "prelu"}, "act_type prelu needs the input 'gamma'"),
        (
            "LeakyReLU",
            [DATA[None], DATA[:2]],
            {"act_type": "prelu"},
            "input 'gamma': expected 1 slope or 5, got float32[2]",
        ),
    ],
)
def test_what_mxnet_does_not_know_is_refused(op: str, inputs: list[Any], attributes: dict[str, str], told: str) -> None:
    assert told in refusal(op, inputs, constants=(1,), **attributes)


def test_a_refusal_of_a_broken_file_stays_short() -> None:
    assert refusal("Activation", [[1]], act_type="x" * 10_000).endswith("xxx..")
    assert len(refusal("Activation", [[1]], act_type="x" * 10_000)) < 500
