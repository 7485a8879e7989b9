"""Greedy suppression, `_contrib_box_nms`: expected values are MXNet 1.9.1's."""

from __future__ import annotations

import numpy as np

from tests.converters.mxnet.operators import check, f32, f64, refusal

ROWS = f32(
    [
        [0, 0.5, 0, 0, 2, 2],
        [1, 0.9, 0, 0, 2, 2.2],
        [0, 0.7, 0, 0.1, 2, 2],
        [-1, 0.95, 8, 8, 9, 9],
        [1, 0.2, 4, 4, 5, 5],
        [1, 0.3, 4, 4, 5, 5.1],
    ]
)
"""Label, score, corners."""
MINUS = [-1.0] * 6


def test_labels_keep_boxes_apart_and_label_minus_1_is_background() -> None:
    check(
        "_contrib_box_nms",
        [ROWS],
        f32(
            [
                [1, 0.9, 0, 0, 2, 2.2],
                [0, 0.7, 0, 0.1, 2, 2],
                [1, 0.3, 4, 4, 5, 5.1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
            ]
        ),
        id_index=0,
    )


def test_without_an_id_index_all_boxes_compete() -> None:
    check(
        "_contrib_box_nms",
        [ROWS],
        f32(
            [
                [-1, 0.95, 8, 8, 9, 9],
                [1, 0.9, 0, 0, 2, 2.2],
                [1, 0.3, 4, 4, 5, 5.1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
            ]
        ),
    )


def test_force_suppress_lets_all_labels_compete_but_the_background() -> None:
    check(
        "_contrib_box_nms",
        [ROWS],
        f32(
            [
                [-1, 0.95, 8, 8, 9, 9],
                [1, 0.9, 0, 0, 2, 2.2],
                [1, 0.3, 4, 4, 5, 5.1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
            ]
        ),
        id_index=0,
        force_suppress=True,
        background_id=0,
    )


def test_another_background_brings_label_minus_1_back() -> None:
    check(
        "_contrib_box_nms",
        [ROWS],
        f32(
            [
                [-1, 0.95, 8, 8, 9, 9],
                [0, 0.7, 0, 0.1, 2, 2],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
            ]
        ),
        id_index=0,
        background_id=1,
    )


def test_only_the_best_topk_compete_and_the_others_are_gone() -> None:
    check(
        "_contrib_box_nms",
        [ROWS],
        f32(
            [
                [1, 0.9, 0, 0, 2, 2.2],
                [0, 0.7, 0, 0.1, 2, 2],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
            ]
        ),
        id_index=0,
        topk=3,
    )


def test_more_topk_than_rows_is_all_rows() -> None:
    check(
        "_contrib_box_nms",
        [ROWS],
        f32(
            [
                [1, 0.9, 0, 0, 2, 2.2],
                [0, 0.7, 0, 0.1, 2, 2],
                [1, 0.3, 4, 4, 5, 5.1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
            ]
        ),
        id_index=0,
        topk=100,
    )


def test_topk_0_gives_the_input_as_it_is() -> None:
    check("_contrib_box_nms", [ROWS], ROWS, id_index=0, topk=0)


def test_scores_have_to_be_above_valid_thresh() -> None:
    check(
        "_contrib_box_nms",
        [ROWS],
        f32(
            [
                [1, 0.9, 0, 0, 2, 2.2],
                [0, 0.7, 0, 0.1, 2, 2],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
            ]
        ),
        id_index=0,
        valid_thresh=0.3,
    )


def test_nothing_valid_is_all_minus_1() -> None:
    check("_contrib_box_nms", [ROWS], f32([MINUS] * 6), valid_thresh=2)


def test_equal_scores_keep_their_order() -> None:
    rows = [[0.5, 0, 0, 1, 1], [0.5, 2, 2, 3, 3], [0.9, 4, 4, 5, 5], [0.5, 2, 2, 3, 3.1], [0.5, 6, 6, 7, 7]]
    check(
        "_contrib_box_nms",
        [rows],
        f32([[0.9, 4, 4, 5, 5], [0.5, 0, 0, 1, 1], [0.5, 2, 2, 3, 3], [0.5, 6, 6, 7, 7], [-1, -1, -1, -1, -1]]),
        score_index=0,
        coord_start=1,
    )


def test_an_overlap_of_the_threshold_stays() -> None:
    rows = [[0.5, 0, 0, 2, 2], [0.4, 0, 0, 1, 2], [0.3, 0, 0, 2, 1.0001]]
    check(
        "_contrib_box_nms",
        [rows],
        f32([[0.5, 0, 0, 2, 2], [0.4, 0, 0, 1, 2], [-1, -1, -1, -1, -1]]),
        score_index=0,
        coord_start=1,
        overlap_thresh=0.5,
    )


def test_threshold_0_suppresses_what_touches() -> None:
    rows = [[0.5, 0, 0, 2, 2], [0.4, 2, 0, 3, 2], [0.3, 0, 0, 0.1, 0.1]]
    check(
        "_contrib_box_nms",
        [rows],
        f32([[0.5, 0, 0, 2, 2], [0.4, 2, 0, 3, 2], [-1, -1, -1, -1, -1]]),
        score_index=0,
        coord_start=1,
        overlap_thresh=0,
    )


def test_a_threshold_of_1_or_more_suppresses_nothing() -> None:
    rows = [[0.4, 0, 0, 2, 2], [0.5, 0, 0, 2, 2]]
    check("_contrib_box_nms", [rows], f32(rows[::-1]), score_index=0, coord_start=1, overlap_thresh=1.5)


def test_boxes_whose_corners_are_swapped_overlap_nothing() -> None:
    rows = [[0.5, 2, 2, 0, 0], [0.4, 2, 2, 0, 0], [0.3, 0, 0, 2, 2]]
    check(
        "_contrib_box_nms",
        [rows],
        f32([[0.5, 2, 2, 0, 0], [0.4, 2, 2, 0, 0], [0.3, 0, 0, 2, 2]]),
        score_index=0,
        coord_start=1,
        overlap_thresh=0,
    )


def test_scores_that_are_no_number_are_dropped() -> None:
    check(
        "_contrib_box_nms",
        [[[np.nan, 0, 0, 2, 2], [0.4, 5, 5, 6, 6]]],
        f32([[0.4, 5, 5, 6, 6], [-1, -1, -1, -1, -1]]),
        score_index=0,
        coord_start=1,
    )


def test_labels_are_whole_numbers_to_each_other_and_as_they_are_to_the_background() -> None:
    labels = [1.2, -1.5, -1, 1.7, -0.9, 0]
    rows = f32([[label, 0.9 - 0.1 * place, 0, 0, 2, 2] for place, label in enumerate(labels)])
    check("_contrib_box_nms", [rows], f32([rows[0], rows[1], rows[4], *[MINUS] * 3]), id_index=0)


def test_labels_that_are_no_number_are_one_label() -> None:
    rows = [[np.nan, 0.5, 0, 0, 2, 2], [np.nan, 0.4, 0, 0, 2, 2], [1, 0.3, 0, 0, 2, 2], [1, 0.2, 0, 0, 2, 2]]
    check("_contrib_box_nms", [rows], f32([rows[0], rows[2], MINUS, MINUS]), id_index=0)


def test_survivors_are_written_as_corners() -> None:
    rows = [[0.5, 1, 1, 2, 2], [0.4, 1, 1, 2, 2.2], [0.3, 3, 3, 4, 4]]
    attrs = {"in_format": "center", "out_format": "corner"}
    check(
        "_contrib_box_nms",
        [rows],
        f32([[0.5, 0, 0, 2, 2], [0.3, 1, 1, 5, 5], [-1, -1, -1, -1, -1]]),
        score_index=0,
        coord_start=1,
        **attrs,
    )


def test_survivors_are_written_as_centres_and_the_rest_of_the_row_stays() -> None:
    rows = [[7, 0, 0, 2, 2, 0.5, 8], [6, 1, 1, 2, 2.2, 0.4, 9]]
    check(
        "_contrib_box_nms",
        [rows],
        f32([[7, 1, 1, 2, 2, 0.5, 8], [6, 1.5, 1.6, 1, 1.2, 0.4, 9]]),
        score_index=5,
        coord_start=1,
        out_format="center",
    )


def test_groups_of_rows_of_any_rank_are_apart() -> None:
    check(
        "_contrib_box_nms",
        [ROWS.reshape(1, 2, 3, 6)],
        f32(
            [
                [
                    [[1, 0.9, 0, 0, 2, 2.2], [0, 0.7, 0, 0.1, 2, 2], [-1, -1, -1, -1, -1, -1]],
                    [[1, 0.3, 4, 4, 5, 5.1], [-1, -1, -1, -1, -1, -1], [-1, -1, -1, -1, -1, -1]],
                ]
            ]
        ),
        id_index=0,
        topk=2,
    )


def test_doubles_stay_doubles() -> None:
    check(
        "_contrib_box_nms",
        [ROWS.astype(np.float64)],
        f64(
            [
                [1, 0.9, 0, 0, 2, 2.2],
                [0, 0.7, 0, 0.1, 2, 2],
                [1, 0.3, 4, 4, 5, 5.1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
                [-1, -1, -1, -1, -1, -1],
            ]
        ),
        id_index=0,
    )


def test_an_index_outside_of_the_row_is_refused() -> None:
    message = refusal("_contrib_box_nms", [ROWS], coord_start=3)
    assert message.endswith("attribute 'coord_start': expected 4 numbers from there in rows of 6, got 3")


def test_a_negative_threshold_is_refused() -> None:
    message = refusal("_contrib_box_nms", [ROWS], overlap_thresh=-0.5)
    assert message.endswith("attribute 'overlap_thresh': expected 0 to 1, got -0.5")
