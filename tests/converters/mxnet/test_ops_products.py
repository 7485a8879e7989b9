"""Products and linear algebra. Expected values are MXNet 1.9.1's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.mxnet.operators import check, f32, refusal

A = [[2, 1, 0], [1, 3, 1], [0.5, 1, 4]]
LOWER = [[2, 0, 0], [1, 3, 0], [0.5, 1, 4]]
SYMMETRIC = [[2, 1, 0.5], [1, 3, 1], [0.5, 1, 4]]
B = [[1, 2], [3, 4], [5, 6]]
TURNED = [[1, 3, 5], [2, 4, 6]]
X = np.arange(12, dtype=np.float32).reshape(2, 3, 2)


def test_dot_contracts_the_last_axis_with_the_first() -> None:
    check("dot", [[1, 2, 3], [4, 5, 6]], f32([32]), symbolic=False)
    check("dot", [[1, 2, 3], B], f32([22, 28]), symbolic=False)
    check("dot", [B, [1, 2]], f32([5, 11, 17]))
    check("dot", [[1, 2], X], f32([[12, 15], [18, 21], [24, 27]]), symbolic=False)
    check("dot", [X, [1, 2]], f32([[2, 8, 14], [20, 26, 32]]))


def test_dot_transposed_contracts_the_first_axis_with_the_last() -> None:
    check("dot", [B, [[1, 0], [0, 1], [1, 1]]], f32([[6, 8], [8, 10]]), transpose_a=True, symbolic=False)
    check("dot", [[[1, 2]], B], f32([[5, 11, 17]]), transpose_b=True)
    data = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    weight = np.ones((4, 5), np.float32)
    check(
        "dot", [data, weight], f32([[[36] * 5, [40] * 5, [44] * 5], [[48] * 5, [52] * 5, [56] * 5]]), transpose_a=True
    )


def test_dot_keeps_all_other_axes() -> None:
    ones = np.ones((4, 5, 6), np.float32)
    check("dot", [np.ones((2, 3, 4), np.float32), ones], np.full((2, 3, 5, 6), 4, np.float32), symbolic=False)


def test_batch_dot_multiplies_matrices_of_any_batch() -> None:
    check("batch_dot", [np.ones((2, 2, 1, 3), np.float32), np.ones((2, 2, 3, 1), np.float32)], f32([[[[3]]] * 2] * 2))
    turned = f32([[[26, 32], [35, 44]], [[224, 248], [251, 278]]])
    other = (X + 1).transpose(0, 2, 1)
    check("batch_dot", [X, other], turned, transpose_a=True, transpose_b=True)


def test_gemm_scales_adds_and_finds_its_rows_elsewhere() -> None:
    rows_first = f32([[[7, 8], [33, 38], [75, 84]], [[55, 68], [105, 122], [171, 192]]])
    check("linalg_gemm2", [X, X + 1], rows_first, axis=0)
    check("linalg_gemm", [X, X + 1, X], rows_first + 2 * X, axis=-3, beta=2)
    check("linalg_gemm2", [B, TURNED], f32([[2.5, 5.5, 8.5], [5.5, 12.5, 19.5], [8.5, 19.5, 30.5]]), alpha=0.5)


def test_syrk_multiplies_with_itself() -> None:
    check("linalg_syrk", [B], f32([[70, 88], [88, 112]]), transpose=True, alpha=2)


def test_khatri_rao_is_kroneckers_product_of_columns() -> None:
    expected = [[1, 8], [3, 16], [5, 24], [3, 16], [9, 32], [15, 48], [5, 24], [15, 48], [25, 72]]
    check("khatri_rao", [B, B, [[1, 2]]], f32(expected))


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"alpha": 2}, [[4, 8], [20, 28], [47, 58]]),
        ({"lower": False}, [[5, 8], [14, 18], [20, 24]]),
        ({"transpose": True}, [[7.5, 11], [14, 18], [20, 24]]),
        ({"rightside": True, "transpose": True}, [[2, 10, 23.5], [4, 14, 29]]),
    ],
)
def test_trmm_takes_one_triangle(attrs: dict[str, Any], expected: Any) -> None:
    check("_linalg_trmm", [A, TURNED if "rightside" in attrs else B], f32(expected), **attrs, symbolic=False)


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"alpha": 2}, [[1, 2], [1.6666667, 2], [1.9583333, 2.25]]),
        ({"lower": False}, [[0.20833331, 0.5833333], [0.5833333, 0.8333333], [1.25, 1.5]]),
        ({"transpose": True}, [[-0.10416667, 0.2083333], [0.5833333, 0.8333333], [1.25, 1.5]]),
        ({"rightside": True}, [[-0.10416667, 0.5833333, 1.25], [0.2083333, 0.8333333, 1.5]]),
        (
            {"rightside": True, "transpose": True, "lower": False},
            [[0.20833331, 0.5833333, 1.25], [0.5833333, 0.8333333, 1.5]],
        ),
    ],
)
def test_trsm_solves_for_one_triangle(attrs: dict[str, Any], expected: Any) -> None:
    check("_linalg_trsm", [A, TURNED if "rightside" in attrs else B], f32(expected), **attrs, symbolic=False)


def test_choleskys_factor_and_the_inverse_from_it() -> None:
    factor = f32([[1.4142135, 0, 0], [0.70710677, 1.5811388, 0], [0.35355338, 0.47434163, 1.9104973]])
    check("_linalg_potrf", [[SYMMETRIC] * 2], f32([factor] * 2))
    check("_npi_cholesky", [SYMMETRIC], factor, symbolic=False)
    inverse = [
        [0.2782118, -0.05381945, -0.00520833],
        [-0.05381945, 0.11805557, -0.02083333],
        [-0.00520833, -0.02083333, 0.0625],
    ]
    check("_linalg_potri", [LOWER], f32(inverse), symbolic=False)


def test_inverses_solutions_and_determinants() -> None:
    inverse = [
        [0.5945946, -0.21621622, 0.05405405],
        [-0.1891892, 0.43243244, -0.10810811],
        [-0.02702702, -0.08108108, 0.27027026],
    ]
    check("_linalg_inverse", [[A, A]], f32([inverse, inverse]))
    check("_npi_solve", [A, [3, 5, 5.5]], f32([1, 1, 1]), symbolic=False)
    check("_npi_solve", [[A], [[[3], [5], [5.5]]]], f32([[[1], [1], [1]]]))
    check("_linalg_det", [[A, SYMMETRIC]], f32([18.5, 18.25]))
    check("_linalg_det", [A], f32([18.5]), symbolic=False)
    check("_linalg_det", [A], np.float32(18.5), symbolic=False, numpy_shapes=True)
    check("_linalg_slogdet", [-f32([A])], [f32([-1]), f32([2.917771])])
    check("_linalg_sumlogdiag", [SYMMETRIC], f32([3.1780539]), symbolic=False)


@pytest.mark.parametrize(
    ("offset", "lower", "taken", "made"),
    [
        (0, True, [2, 1, 3, 0.5, 1, 4], [[1, 0], [2, 3]]),
        (0, False, [2, 1, 3, 0, 1, 4], [[1, 2], [0, 3]]),
        (1, True, [1, 0, 1], [[0, 1, 2], [0, 0, 3], [0, 0, 0]]),
        (-1, False, [1, 0.5, 1], [[0, 0, 0], [1, 0, 0], [2, 3, 0]]),
    ],
)
def test_triangles_taken_and_made(offset: int, lower: bool, taken: list[float], made: Any) -> None:
    check("_linalg_extracttrian", [[A]], f32([taken]), offset=offset, lower=lower)
    check("_linalg_maketrian", [[[1, 2, 3]]], f32([made]), offset=offset, lower=lower)


def test_an_upper_triangle_runs_column_by_column() -> None:
    values = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    check("_linalg_extracttrian", [values], f32([[0, 1, 5, 2, 6, 10, 3, 7, 11, 15]]), lower=False)
    made = f32([[[1, 2, 4], [0, 3, 5], [0, 0, 6]]])
    check("_linalg_maketrian", [[[1, 2, 3, 4, 5, 6]]], made, lower=False)


def test_diagonals_taken_and_made() -> None:
    check("_linalg_extractdiag", [[A]], f32([[2, 3, 4]]))
    check("_linalg_extractdiag", [[A]], f32([[1, 1]]), offset=-1)
    check("_linalg_makediag", [[[1, 2]]], f32([[[0, 1, 0], [0, 0, 2], [0, 0, 0]]]), offset=1)
    check("_np_trace", [A], np.float32(9), symbolic=False)
    check("_np_trace", [[A]], f32([2]), offset=1, axis1=1, axis2=2)
    check("_np_trace", [np.array([[250, 1], [2, 7]], np.uint8)], np.uint8(1), symbolic=False)


def test_matrices_that_are_not_square_or_too_large_are_refused() -> None:
    message = refusal("_linalg_potrf", [[B]])
    assert message.endswith("expected square matrices of at most 64 rows, got float32[x0_0,3,2]")
    assert "at most 64 rows" in refusal("_linalg_trsm", [np.ones((1, 65, 65)), np.ones((1, 65, 2))])
    assert "expected less than 3 either way, got 3" in refusal("_linalg_extractdiag", [[A]], offset=3)
    assert "at most 2048 rows, got 1000000002" in refusal("_linalg_makediag", [[[1, 2]]], offset=10**9)
    assert "expected n (n + 1) / 2 elements" in refusal("_linalg_maketrian", [[[1, 2]]])


def test_the_size_of_a_matrix_must_be_known() -> None:
    assert "along axis -2 must be known: declare it under `inputs:`" in refusal("_linalg_potrf", [A])


def test_numpys_dot_takes_the_last_axis_but_one() -> None:
    check("_np_dot", [[1, 2], [3, 4]], np.float32(11), symbolic=False)
    check("_np_dot", [np.float32(3), [1, 2]], f32([3, 6]))
    check("_np_dot", [np.ones((2, 3, 2)), np.ones((4, 2, 5))], np.full((2, 3, 4, 5), 2.0), symbolic=False)


def test_matmul_broadcasts_and_takes_vectors() -> None:
    check("_npi_matmul", [[1, 2], [3, 4]], np.float32(11), symbolic=False)
    check("_npi_matmul", [np.ones((3, 1, 2)), np.array([1.0, 2])], np.full((3, 1), 3.0), symbolic=False)
    check("_npi_matmul", [np.ones((2, 1, 2, 3)), np.ones((5, 3, 2))], np.full((2, 5, 2, 2), 3.0), symbolic=False)


def test_tensordot_by_number_and_by_axes() -> None:
    check("_npi_tensordot_int_axes", [[1, 2], [1, 2]], f32([[1, 2], [2, 4]]), axes=0)
    check("_npi_tensordot_int_axes", [[1, 2], [1, 2]], np.float32(5), axes=1, symbolic=False)
    axes = {"a_axes_summed": "(1, 0)", "b_axes_summed": "(0, 1)"}
    check("_npi_tensordot", [B, TURNED], np.float32(91), **axes, symbolic=False)
    assert "expected as many axes" in refusal("_npi_tensordot", [B, B], a_axes_summed="(0,)", b_axes_summed="(0, 1)")
    assert "expected 0 to 2, got 3" in refusal("_npi_tensordot_int_axes", [B, B], axes=3)


def test_einsum_in_all_its_forms() -> None:
    check("_npi_einsum", [A], np.float32(9), subscripts="ii", symbolic=False)
    check("_npi_einsum", [A], f32([2, 3, 4]), subscripts="ii -> i", symbolic=False)
    check("_npi_einsum", [X, X], f32([55, 451]), subscripts="bij,bij->b")
    integers = np.array([[1, 2], [3, 4]], np.int32)
    check(
        "_npi_einsum",
        [integers, integers],
        np.array([[7, 10], [15, 22]], np.int32),
        subscripts="ij,jk->ik",
        symbolic=False,
    )
