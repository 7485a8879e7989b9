"""Overlap of boxes, and offsets to boxes and back: expected values are MXNet 1.9.1's."""

from __future__ import annotations

import numpy as np

from tests.converters.mxnet.operators import check, f32, f64, refusal

ANCHORS = f32([[[1, 2, 3, 4], [2, 2, 5, 6]]])
OFFSETS = f32([[[0, 0.1, 0.2, 0.3], [0.4, -0.5, 0.6, 0.7]], [[1, 0, -1, 0], [0, 1, 0, -1]]])


def test_overlap_is_of_all_pairs() -> None:
    check(
        "_contrib_box_iou",
        [[[0, 0, 2, 2], [1, 1, 4, 3]], [[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6]]],
        f32([[0.1428571, 1, 0], [0.6666667, 0.1111111, 0]]),
    )


def test_overlap_is_0_without_an_area_or_with_swapped_corners() -> None:
    check("_contrib_box_iou", [[[0, 0, 0, 0], [3, 3, 1, 1]], [[0, 0, 0, 0], [1, 1, 3, 3]]], f32([[0, 0], [0, 0]]))


def test_overlap_of_boxes_written_as_centres() -> None:
    check("_contrib_box_iou", [[[1, 1, 2, 2]], [[2, 2, 2, 2], [1, 1, 1, 1]]], f32([[0.1428571, 0.25]]), format="center")


def test_overlap_has_the_leading_axes_of_both() -> None:
    left = [[[0, 0, 2, 2], [1, 0, 3, 2], [0, 0, 4, 4]], [[0, 1, 2, 3], [2, 2, 4, 4], [1, 1, 2, 2]]]
    check(
        "_contrib_box_iou",
        [left, [[[0, 0, 2, 2]], [[1, 1, 3, 3]]]],
        f32(
            [
                [[[1], [0.1428571]], [[0.3333333], [0.3333333]], [[0.25], [0.25]]],
                [[[0.3333333], [0.3333333]], [[0], [0.1428571]], [[0.25], [0.25]]],
            ]
        ),
    )


def test_overlap_of_doubles() -> None:
    check("_contrib_box_iou", [f64([[0, 0, 2, 2]]), f64([[1, 1, 3, 4]])], f64([[0.1111111]]))


def test_another_format_is_refused() -> None:
    message = refusal("_contrib_box_iou", [np.zeros((1, 4)), np.zeros((1, 4))], format="polar")
    assert message.endswith("attribute 'format': expected corner or center, got 'polar'")


def test_decoding_takes_anchors_as_centres_by_default() -> None:
    check(
        "_contrib_box_decode",
        [OFFSETS, ANCHORS],
        f32(
            [
                [[-0.8321042, -0.2997177, 2.832104, 5.099718], [-0.5552974, -7.041258, 8.555298, 5.041258]],
                [[3.448181, 0, 4.551819, 4], [-0.5, 6.896361, 4.5, 9.103639]],
            ]
        ),
        constants=(1,),
    )


def test_decoding_scales_offsets_and_limits_the_growth() -> None:
    check(
        "_contrib_box_decode",
        [OFFSETS, ANCHORS],
        f32(
            [
                [[0.9381634, 1.934829, 3.061837, 4.145171], [1.962243, 1.389658, 5.277756, 5.810342]],
                [[1.459182, 2, 2.940818, 4], [2, 3.45936, 5, 6.14064]],
            ]
        ),
        std0=0.1,
        std1=0.2,
        std2=0.3,
        std3=0.4,
        clip=0.1,
        format="corner",
    )


def test_decoding_of_doubles() -> None:
    check(
        "_contrib_box_decode",
        [f64([[[0.1, 0.2, 0.3, 0.4]]]), f64([[[1, 2, 3, 4]]])],
        f64([[[-0.7247882, -0.1836494, 3.324788, 5.783649]]]),
    )


def test_encoding_gives_offsets_of_matched_boxes_and_a_mask() -> None:
    check(
        "_contrib_box_encode",
        [
            [[1, 0, -1, 1]],
            [[0, 1, 1, 2]],
            [[[0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 3, 3], [1, 1, 4, 5]]],
            [[[0, 0, 1, 1], [0, 0, 2, 2], [1, 1, 3, 4]]],
            [0, 0.1, 0, 0],
            [0.1, 0.1, 0.2, 0.2],
        ],
        [
            f32(
                [
                    [
                        [-2.5, -3.5, -3.465736, -3.465736],
                        [0, 0, 0, 0],
                        [0, 0, 0, 0],
                        [-1.666667, -2.25, -2.027325, -1.43841],
                    ]
                ]
            ),
            f32([[[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]]),
        ],
        constants=(4, 5),
    )
