"""Softmax in its forms, and the heads: expected values are MXNet 1.9.1's."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from converters.mxnet.binding import complete
from converters.mxnet.registry import operators
from tests.converters.mxnet.operators import check, f32, graph_of, refusal

DATA = np.array([[1, 2, 4], [3, 3, 9]], np.float32)
SOFTMAX = [[0.0420101, 0.1141952, 0.8437947], [0.0024665, 0.0024665, 0.9950671]]
CUBE = np.arange(12, dtype=np.float32).reshape(2, 3, 2) ** 1.2


def test_softmax_is_over_the_last_axis_by_default() -> None:
    check("softmax", [DATA], f32(SOFTMAX))


def test_axis_may_be_any() -> None:
    half = f32([[0.1192029, 0.26894143, 0.00669285], [0.8807971, 0.7310586, 0.9933072]])
    check("softmax", [DATA], half, axis=0)
    check("softmax", [DATA], half, axis=-2)


def test_temperature_divides_the_data() -> None:
    check("softmax", [DATA], f32([[0.1402442, 0.2312241, 0.6285317], [0.0452785, 0.0452785, 0.9094430]]), temperature=2)
    check("log_softmax", [DATA], f32([[-1.96437, -1.46437, -0.46437], [-3.09492, -3.09492, -0.09492]]), temperature=2)
    check("softmin", [DATA], f32([[0.5465494, 0.3314990, 0.1219516], [0.4878556, 0.4878556, 0.0242889]]), temperature=2)


def test_softmin_is_softmax_of_the_negative() -> None:
    check("softmin", [DATA], f32([[0.7053845, 0.2594965, 0.0351190], [0.4993811, 0.4993811, 0.0012378]]))


@pytest.mark.parametrize("given", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("wanted", [np.float16, np.float32, np.float64])
def test_dtype_may_be_wider_or_narrower_than_the_data(given: type, wanted: type) -> None:
    rtol = 1e-3 if np.float16 in (given, wanted) else 1e-6
    name = np.dtype(wanted).name
    check("softmax", [DATA.astype(given)], np.array(SOFTMAX, wanted), dtype=name, rtol=rtol)
    check("log_softmax", [DATA.astype(given)], np.log(SOFTMAX).astype(wanted), dtype=name, rtol=rtol)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_positions_from_length_on_are_zero(dtype: type) -> None:
    expected = f32([[0.26894143, 0.7310586, 0], [1, 0, 0]])
    check("softmax", [DATA, np.array([2, 1], dtype)], expected, use_length=True)
    check("softmax", [DATA, np.array([0, 3], dtype)], f32([[0, 0, 0], SOFTMAX[1]]), use_length=True)


def test_length_goes_along_the_axis() -> None:
    expected = f32([[1, 0.26894143, 0], [0, 0.7310586, 0]])
    check("softmax", [DATA, np.array([1, 2, 0])], expected, use_length=True, axis=0)


def test_length_without_use_length_is_ignored() -> None:
    check("softmax", [DATA, np.array([1, 1])], f32(SOFTMAX))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_length_of_other_precisions(dtype: type) -> None:
    expected = np.array([[0.26894143, 0.7310586, 0], [1, 0, 0]], dtype)
    check("softmax", [DATA.astype(dtype), np.array([2, 1])], expected, use_length=True, rtol=1e-3)


def test_elements_without_the_mask_are_zero() -> None:
    mask = np.array([[True, True, False], [False, False, False]])
    zero, gone = [0, 0, 0], [-np.inf] * 3
    check("masked_softmax", [DATA, mask], f32([[0.26894143, 0.7310586, 0], zero]))
    check("_npx_masked_softmax", [DATA, mask[:1]], f32([[0.37754068, 0.62245935, 0], [0.5, 0.5, 0]]), temperature=2)
    check("masked_log_softmax", [DATA, mask], f32([[-1.3132616, -0.3132617, -np.inf], gone]))


def test_softmax_activation_is_over_the_last_axis_or_the_channels() -> None:
    check("SoftmaxActivation", [DATA], f32(SOFTMAX))
    check("SoftmaxActivation", [CUBE], normalised(CUBE, 2), mode="instance")
    check("SoftmaxActivation", [CUBE], normalised(CUBE, 1), mode="channel")


def normalised(data: np.ndarray, axes: int | tuple[int, ...]) -> np.ndarray:
    powers = np.exp(data.astype(np.float64))
    return np.asarray(powers / powers.sum(axes, keepdims=True), np.float32)


@pytest.mark.parametrize(
    ("attributes", "axes"),
    [
        ({}, (1, 2)),
        ({"preserve_shape": "True"}, 2),
        ({"multi_output": "True"}, 1),
        ({"multi_output": "1", "preserve_shape": "1"}, 1),
    ],
)
def test_softmax_output_by_its_flags(attributes: dict[str, str], axes: int | tuple[int, ...]) -> None:
    check("SoftmaxOutput", [CUBE], normalised(CUBE, axes), **attributes)


def test_softmax_output_of_rows(caplog: pytest.LogCaptureFixture) -> None:
    check("Softmax", [DATA], f32(SOFTMAX))
    assert not caplog.records


def test_softmax_output_of_maps_warns_that_engines_disagree(caplog: pytest.LogCaptureFixture) -> None:
    data = CUBE[..., None]
    with caplog.at_level(logging.WARNING):
        check("SoftmaxOutput", [data], normalised(data, (1, 2, 3)))
    assert "MXNet's builds disagree on 4-D data" in caplog.text


def test_softmax_cross_entropy_sums_over_rows_and_counts_from_1e_8_on() -> None:
    check("softmax_cross_entropy", [DATA, [2, 0]], f32([6.1747947]))
    check("softmax_cross_entropy", [[[0, 30]], [0]], f32([18.420681]))
    check("softmax_cross_entropy", [[[0, 1, 3]], [1.7]], f32([2.169846]))
    check("softmax_cross_entropy", [DATA.astype(np.float64), np.array([2.0, 0.0])], np.array([6.1747945]))


HEADS = ["SoftmaxOutput", "LinearRegressionOutput", "MAERegressionOutput", "SVMOutput", "LogisticRegressionOutput"]


@pytest.mark.parametrize("op", HEADS)
def test_labels_are_dropped(op: str) -> None:
    graph = complete(graph_of(op, {}, 2))
    assert graph.nodes[-1].inputs == ((0, 0),)
    assert operators()[op].ignored == 1


@pytest.mark.parametrize("op", ["LinearRegressionOutput", "MAERegressionOutput", "SVMOutput"])
def test_heads_of_regressions_give_the_data(op: str) -> None:
    check(op, [DATA], DATA)


@pytest.mark.parametrize(
    "op", ["BlockGrad", "stop_gradient", "MakeLoss", "make_loss", "_copy", "identity", "_copyto", "_CrossDeviceCopy"]
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8", "bool"])
def test_copies_give_the_data_of_any_dtype(op: str, dtype: str) -> None:
    check(op, [DATA.astype(dtype)], DATA.astype(dtype))


def test_running_mean_of_the_sparsity_penalty_is_not_needed() -> None:
    check("IdentityAttachKLSparseReg", [DATA], DATA, penalty=0.1)
    assert complete(graph_of("IdentityAttachKLSparseReg", {}, 2)).nodes[-1].inputs == ((0, 0),)


def test_logistic_regression_gives_the_sigmoid() -> None:
    expected = f32([[0.7310586, 0.8807971, 0.98201376], [0.95257413, 0.95257413, 0.9998766]])
    check("LogisticRegressionOutput", [DATA], expected)


def test_dropout_is_the_identity() -> None:
    check("Dropout", [DATA], DATA, p=0.9)
    check("Dropout", [DATA], DATA, p=0, mode="always")
    check("Dropout", [DATA], DATA, mode="training", axes="(0,)")


@pytest.mark.parametrize(
    ("op", "data", "attributes", "told"),
    [
        ("Dropout", DATA, {"mode": "always"}, "attribute 'mode': 'always' makes every answer random; export the model"),
        ("softmax", DATA.astype(np.int32), {}, "expected floats, got int32[x0_0,3]"),
        ("softmax", DATA, {"axis": 2}, "attribute 'axis': expected an axis of a 2-D tensor, got 2"),
        (
            "SoftmaxActivation",
            DATA,
            {"mode": "batch"},
            "attribute 'mode': expected one of instance, channel, got 'batch'",
        ),
        ("SoftmaxOutput", DATA[0], {}, "expected data (N, classes, ..), got float32[x0_0]"),
    ],
)
def test_what_has_no_answer_is_refused(op: str, data: np.ndarray, attributes: dict[str, Any], told: str) -> None:
    assert told in refusal(op, [data], **attributes)
