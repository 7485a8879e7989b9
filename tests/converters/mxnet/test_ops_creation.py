"""Tensors made from attributes or from a shape: expected values are those of MXNet 1.9.1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.mxnet.operators import check, counted, f32, refusal


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "int64", "int8", "uint8", "bool"])
def test_zeros_ones_and_full_have_a_shape_and_dtype(dtype: str) -> None:
    check("_zeros", [], np.zeros((2, 3), dtype), shape="(2, 3)", dtype=dtype)
    check("_npi_ones", [], np.ones(3, dtype), shape="3", dtype=dtype)
    check(
        "_full",
        [],
        np.full((1, 2), 2).astype(dtype),
        shape="(1, 2)",
        value="2.7" if dtype[0] in "iu" else 2,
        dtype=dtype,
    )


def test_numpys_zeros_may_be_scalars_and_empty() -> None:
    check("_npi_zeros", [], np.float32(0), shape="()")
    check("_npi_ones", [], np.ones((2, 0), np.float32), shape="(2, 0)")


def test_zeros_for_a_batch_that_mxnet_infers_broadcast() -> None:
    check("_zeros", [], np.zeros((1, 4), np.float32), shape="(0, 4)")
    check("_zeros", [], np.zeros((2, 1, 4), np.float32), shape="(2, 0, 4)")


def test_zeros_of_a_net_with_numpy_shapes_may_be_scalars_and_empty() -> None:
    check("_zeros", [], np.float32(0), shape="()", numpy_shapes=True)
    check("_ones", [], np.ones((0, 2), np.float32), shape="(0, 2)", numpy_shapes=True)


def test_zeros_of_other_unknown_sizes_are_refused() -> None:
    assert "expected known sizes, except for the batch, got (0, 0)" in refusal("_zeros", [], shape="(0, 0)")
    assert "attribute 'shape' is missing" in refusal("_full", [], value=1)
    assert "at most 268435456 elements" in refusal("_ones", [], shape="(1000000000, 1000)")


def test_like_operators_take_shape_and_dtype_of_another() -> None:
    data = counted(2, 3, dtype="int64")
    check("zeros_like", [data], np.zeros((2, 3), "int64"))
    check("ones_like", [data], np.ones((2, 3), "int64"))
    check("_npi_full_like", [data], np.full((2, 3), 2, "int64"), fill_value=2.5)
    check("_npi_full_like", [data], np.full((2, 3), 2.5, "float16"), fill_value=2.5, dtype="float16")


def test_identity_with_attr_like_rhs_is_the_left_one() -> None:
    check("_identity_with_attr_like_rhs", [counted(2, 3), np.ones((2, 3), np.float32)], counted(2, 3))


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"start": 3}, [0, 1, 2]),
        ({"start": 3, "stop": "None"}, [0, 1, 2]),
        ({"start": 1, "stop": 5, "step": 2}, [1, 3]),
        ({"start": 5, "stop": 1, "step": -1.5}, [5, 3.5, 2]),
        ({"start": 0, "stop": 1, "step": 0.3}, [0, 0.3, 0.6, 0.9]),
        ({"start": 0, "stop": 2, "repeat": 3}, [0, 0, 0, 1, 1, 1]),
    ],
)
def test_arange_counts(attributes: dict[str, Any], expected: list[float]) -> None:
    check("_arange", [], f32(expected), **attributes)


def test_arange_of_integers_cuts_the_step() -> None:
    check("_arange", [], np.zeros(4, "int32"), start=0, stop=2, step=0.5, dtype="int32")
    check("_npi_arange", [], np.array([0, 1, 2], "int64"), start=0.5, stop=3.5, dtype="int64")


def test_arange_of_float16_counts_in_whole_numbers() -> None:
    check("_arange", [], np.array([0, 1, 2], "float16"), start=0.5, stop=3, dtype="float16")


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"start": 0, "stop": 10**12}, "expected 0 to 4194304 numbers"),
        ({"start": 0, "stop": 3, "step": 0}, "don't fit together"),
        ({"start": 0, "stop": "inf"}, "don't fit together"),
        ({"start": 0, "stop": 3, "repeat": 0}, "attribute 'repeat': expected 1 or more, got 0"),
        ({"start": 0, "infer_range": True}, "attribute 'infer_range'"),
    ],
)
def test_ranges_that_can_not_be_are_refused(attributes: dict[str, Any], words: str) -> None:
    assert words in refusal("_arange", [], **attributes)


def test_linspace_has_its_end_unless_told_otherwise() -> None:
    check("_linspace", [], f32([0, 0.5, 1]), start=0, stop=1, num=3)
    check("_linspace", [], f32([0, 0.25, 0.5, 0.75]), start=0, stop=1, num=4, endpoint=False)
    check("_linspace", [], f32([2]), start=2, stop=5, num=1)
    check("_linspace", [], np.array([0, 2, 5], "int32"), start=0, stop=5, num=3, dtype="int32")


def test_logspace_gives_powers() -> None:
    check("_npi_logspace", [], f32([1, 10, 100]), start=0, stop=2, num=3)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"N": 2}, [[1, 0], [0, 1]]),
        ({"N": 2, "M": 3, "k": 1}, [[0, 1, 0], [0, 0, 1]]),
        ({"N": 2, "M": 3, "k": -1}, [[0, 0, 0], [1, 0, 0]]),
    ],
)
def test_eye_has_ones_on_a_diagonal(attributes: dict[str, Any], expected: Any) -> None:
    check("_eye", [], f32(expected), **attributes)
    check("_npi_eye", [], np.array(expected, "int64"), dtype="int64", **attributes)


def test_an_m_of_0_stands_for_n_in_the_older_operator_alone() -> None:
    check("_eye", [], f32([[1, 0], [0, 1]]), N=2, M=0)
    check("_npi_eye", [], np.zeros((2, 0), np.float32), N=2, M=0)


def test_identity_is_square() -> None:
    check("_npi_identity", [], f32([[1, 0], [0, 1]]), shape="(2, 2)")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, [[0, 1, 2], [3, 4, 5]]),
        ({"axis": 1}, [0, 1, 2]),
        ({"axis": -2, "start": 5, "step": -1}, [5, 4]),
        ({"repeat": 2}, [[0, 0, 1], [1, 2, 2]]),
    ],
)
def test_arange_like_counts_in_the_shape_of_another(attributes: dict[str, Any], expected: Any) -> None:
    check("_contrib_arange_like", [np.zeros((2, 3), np.float32)], f32(expected), **attributes)


def test_arange_like_has_the_dtype_of_the_other() -> None:
    check("_contrib_arange_like", [np.zeros((3, 1), "int32")], np.array([0, 2, 4], "int32"), axis=0, step=2)


def test_shapes_and_sizes_are_int64() -> None:
    check("shape_array", [counted(2, 3)], np.array([2, 3]))
    check("size_array", [counted(2, 3)], np.array([6]))
    check("shape_array", [np.float32(1)], np.zeros(0, np.int64))


def test_index_array_gives_coordinates_last() -> None:
    check("_contrib_index_array", [counted(2, 2)], np.array([[[0, 0], [0, 1]], [[1, 0], [1, 1]]]))
    check("_contrib_index_array", [counted(2, 2)], np.array([[[0], [1]], [[0], [1]]]), axes="(-1,)")


def test_indices_gives_coordinates_first_as_int32() -> None:
    check("_npi_indices", [], np.array([[[0, 0], [1, 1]], [[0, 1], [0, 1]]], "int32"), dimensions="(2, 2)")


def test_windows_fade_in_and_out() -> None:
    check("_npi_hanning", [], f32([0, 0.5, 1, 0.5, 0]), M=5)
    check("_npi_hamming", [], f32([0.08, 1, 0.08]), M=3)
    check("_npi_blackman", [], np.array([0, 1, 0], "float64"), M=3, dtype="float64")
