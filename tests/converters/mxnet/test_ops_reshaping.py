"""Reshape and its codes: expected shapes are those of MXNet 1.9.1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.mxnet.operators import check, counted, f32, refusal


@pytest.mark.parametrize(
    ("codes", "shape"),
    [
        ("(0, -1)", (2, 12)),
        ("(-1,)", (24,)),
        ("(4, 6)", (4, 6)),
        ("(-3, 0)", (6, 4)),
        ("(0, -3)", (2, 12)),
        ("(-2, 1)", (2, 3, 4, 1)),
        ("(1, 0, -1)", (1, 3, 8)),
        ("(-1, -2)", (2, 3, 4)),
        ("(0, -4, 1, 3, -2)", (2, 1, 3, 4)),
        ("(0, -4, -1, 1, 0)", (2, 3, 1, 4)),
        ("(-4, 1, -1, 0, 0)", (1, 2, 3, 4)),
    ],
)
def test_reshape_reads_codes_from_left_to_right(codes: str, shape: tuple[int, ...]) -> None:
    check("Reshape", [counted(2, 3, 4)], counted(*shape), shape=codes)


@pytest.mark.parametrize(
    ("codes", "shape"),
    [
        ("(-1, 0)", (6, 4)),
        ("(0, -3)", (2, 12)),
        ("(-3, 0)", (6, 4)),
        ("(3, -1, 2)", (3, 4, 2)),
        ("(2, -2, 2)", (2, 2, 3, 2)),
        ("(0, 3, 1, -4, 0)", (2, 3, 1, 4)),
        ("(0, 0, 2, -1, -4)", (2, 3, 2, 2)),
    ],
)
def test_reverse_reads_codes_from_the_right_where_operands_stand_before_the_split(
    codes: str, shape: tuple[int, ...]
) -> None:
    check("Reshape", [counted(2, 3, 4)], counted(*shape), shape=codes, reverse=True)


@pytest.mark.parametrize(
    ("target", "keep", "shape"),
    [("(0, 12)", False, (2, 12)), ("(2, 0)", False, (2, 12)), ("(7, 0)", True, (2, 12)), ("(24,)", False, (24,))],
)
def test_old_files_say_target_shape(target: str, keep: bool, shape: tuple[int, ...]) -> None:
    check("Reshape", [counted(2, 3, 4)], counted(*shape), target_shape=target, keep_highest=keep)


@pytest.mark.parametrize(
    ("codes", "shape"),
    [
        ("(-1,)", (24,)),
        ("(-2, -2, 2, -1)", (2, 3, 2, 2)),
        ("(-5, -4)", (6, 4)),
        ("(-2, -5)", (2, 12)),
        ("(-6, 1, -1, -4)", (1, 2, 3, 4)),
        ("(-2, -6, -1, 1, -4)", (2, 3, 1, 4)),
        ("(-4, 1)", (2, 3, 4, 1)),
        ("(-1, -4)", (2, 3, 4)),
        ("(-5, -1)", (6, 4)),
    ],
)
def test_npx_reshape_has_other_codes(codes: str, shape: tuple[int, ...]) -> None:
    check("_npx_reshape", [counted(2, 3, 4)], counted(*shape), newshape=codes)


def test_npx_reshape_skips_an_axis_of_size_1_or_unknown() -> None:
    check("_npx_reshape", [counted(2, 1, 3)], counted(2, 3), newshape="(-2, -3, -4)")
    check("_npx_reshape", [counted(1, 3)], counted(3), newshape="(-3, -4)")


def test_npx_reshape_refuses_to_skip_another_size() -> None:
    assert "code -3 skips dimensions of size 1 only" in refusal("_npx_reshape", [counted(2, 3)], newshape="(-2, -3)")


def test_numpys_reshape_infers_one_size() -> None:
    check("_np_reshape", [counted(2, 3, 4)], counted(4, 6), newshape="(4, -1)")
    check("_np_reshape", [counted(1)], np.float32(0), newshape="()")
    check("_np_reshape", [np.float32(3)], f32([[3]]), newshape="(1, -1)")


def test_numpys_reshape_knows_no_other_order() -> None:
    assert "attribute 'order': expected 'C', got 'F'" in refusal("_np_reshape", [counted(2)], newshape="-1", order="F")


def test_the_sizes_of_a_shuffle_stay_known_beside_an_unknown_batch() -> None:
    check("Reshape", [counted(3, 6, 2, 2)], counted(3, 2, 3, 2, 2), shape="(0, -4, 2, -1, -2)")


@pytest.mark.parametrize(
    ("bounds", "shape"),
    [
        ({}, (4, 6)),
        ({"lhs_begin": 0, "lhs_end": 1, "rhs_begin": 0, "rhs_end": 1}, (4, 3, 2)),
        ({"lhs_begin": 1, "lhs_end": "None", "rhs_begin": 1, "rhs_end": "None"}, (4, 6)),
        ({"lhs_begin": -2, "lhs_end": 3, "rhs_begin": -1, "rhs_end": 2}, (4, 6)),
    ],
)
def test_reshape_like_replaces_a_range_of_sizes(bounds: dict[str, Any], shape: tuple[int, ...]) -> None:
    check("reshape_like", [counted(4, 3, 2), counted(4, 6)], counted(*shape), **bounds)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"shape": "(-1, -1)"}, "one size to infer"),
        ({"shape": "(0, 5)"}, "can't give"),
        ({"shape": "(-5, 2)"}, "a shape has no code -5"),
        ({"shape": "(0, 0, 0)"}, "copy more dimensions than the input has"),
        ({"shape": "(0, -4, 3)"}, "don't fit together"),
        ({}, "attribute 'shape' is missing"),
        ({"shape": "(-1, 0, 5)", "reverse": "yes"}, "attribute 'reverse' can't be 'yes'"),
    ],
)
def test_shapes_that_can_not_be_are_refused(attributes: dict[str, Any], words: str) -> None:
    assert words in refusal("Reshape", [counted(2, 6)], **attributes)
