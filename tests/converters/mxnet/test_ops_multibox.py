"""Anchors and detections of SSD: expected values are MXNet 1.9.1's."""

from __future__ import annotations

import numpy as np

from tests.converters.mxnet.operators import check, f32, refusal


def prior(height: int, width: int) -> np.ndarray:
    return np.zeros((1, 2, height, width), np.float32)


ANCHORS = f32(
    [[[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.55], [0.6, 0.6, 0.9, 0.9], [0.5, 0.1, 1.2, 0.4], [0.1, 0.5, 0.4, 0.9]]]
)
CLASSES = f32([[[0.1, 0.2, 0.3, 0.1, 0.5], [0.5, 0.5, 0.1, 0.9, 0.3], [0.4, 0.3, 0.6, 0, 0.2]]])
STILL = np.zeros((1, 20), np.float32)
SCENE = [CLASSES, STILL, ANCHORS]


def test_the_default_prior_is_the_whole_image_for_one_cell() -> None:
    check("_contrib_MultiBoxPrior", [prior(1, 1)], f32([[[0, 0, 1, 1]]]))


def test_all_sizes_have_the_first_ratio_and_further_ratios_the_first_size() -> None:
    check(
        "_contrib_MultiBoxPrior",
        [prior(1, 2)],
        f32(
            [
                [
                    [0.07322331, 0.3232233, 0.4267767, 0.6767767],
                    [0.143934, 0.393934, 0.356066, 0.606066],
                    [0.03349365, 0.3556624, 0.4665064, 0.6443375],
                    [0.5732233, 0.3232233, 0.9267767, 0.6767767],
                    [0.643934, 0.393934, 0.856066, 0.606066],
                    [0.5334936, 0.3556624, 0.9665064, 0.6443375],
                ]
            ]
        ),
        sizes="(0.5, 0.3)",
        ratios="(2, 3)",
    )


def test_priors_have_steps_and_offsets_with_y_first_and_are_clipped() -> None:
    check(
        "_contrib_MultiBoxPrior",
        [prior(2, 1)],
        f32([[[0, 0, 0.58, 0.3], [0, 0.3, 0.58, 0.8]]]),
        sizes="(0.5,)",
        steps="(0.5, 0.4)",
        offsets="(0.1, 0.2)",
        clip=True,
    )


def test_absurdly_many_priors_are_refused() -> None:
    message = refusal("_contrib_MultiBoxPrior", [prior(1, 1)], ratios=f"({'1,' * 2000})")
    assert message.endswith("expected 1 to 1024 boxes a cell, got 1 sizes and 2000 ratios")


def test_detections_are_sorted_and_a_suppressed_one_keeps_its_row() -> None:
    check(
        "_contrib_MultiBoxDetection",
        SCENE,
        f32(
            [
                [
                    [0, 0.9, 0.5, 0.09999999, 1, 0.4],
                    [1, 0.6, 0.6, 0.6, 0.9, 0.9],
                    [0, 0.5, 0.1, 0.1, 0.5, 0.5],
                    [-1, 0.5, 0.1, 0.1, 0.5, 0.55],
                    [0, 0.3, 0.09999999, 0.5, 0.4, 0.9],
                ]
            ]
        ),
    )


def test_anchors_below_the_threshold_are_dropped() -> None:
    check(
        "_contrib_MultiBoxDetection",
        SCENE,
        f32(
            [
                [
                    [0, 0.9, 0.5, 0.09999999, 1, 0.4],
                    [1, 0.6, 0.6, 0.6, 0.9, 0.9],
                    [-1, -1, -1, -1, -1, -1],
                    [-1, -1, -1, -1, -1, -1],
                    [-1, -1, -1, -1, -1, -1],
                ]
            ]
        ),
        threshold=0.55,
    )


def test_background_id_is_never_read() -> None:
    check(
        "_contrib_MultiBoxDetection",
        SCENE,
        f32(
            [
                [
                    [0, 0.9, 0.5, 0.09999999, 1, 0.4],
                    [1, 0.6, 0.6, 0.6, 0.9, 0.9],
                    [0, 0.5, 0.1, 0.1, 0.5, 0.5],
                    [-1, 0.5, 0.1, 0.1, 0.5, 0.55],
                    [0, 0.3, 0.09999999, 0.5, 0.4, 0.9],
                ]
            ]
        ),
        background_id=1,
    )


def test_an_overlap_of_the_threshold_suppresses() -> None:
    anchors = [[[0, 0, 0.5, 0.5], [0, 0, 0.25, 0.5], [0.5, 0.5, 1, 1]]]
    classes = [[[0, 0, 0], [0.9, 0.8, 0.7]]]
    check(
        "_contrib_MultiBoxDetection",
        [classes, np.zeros((1, 12), np.float32), anchors],
        f32([[[0, 0.9, 0, 0, 0.5, 0.5], [-1, 0.8, 0, 0, 0.25, 0.5], [0, 0.7, 0.5, 0.5, 1, 1]]]),
        nms_threshold=0.5,
    )


def test_force_suppress_compares_all_labels() -> None:
    anchors = [[[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.4], [0.5, 0.5, 1, 1]]]
    classes = [[[0, 0, 0], [0.9, 0.2, 0.7], [0.1, 0.8, 0.1]]]
    check(
        "_contrib_MultiBoxDetection",
        [classes, np.zeros((1, 12), np.float32), anchors],
        f32([[[0, 0.9, 0, 0, 0.5, 0.5], [-1, 0.8, 0, 0, 0.5, 0.4], [0, 0.7, 0.5, 0.5, 1, 1]]]),
        force_suppress=True,
    )


def test_rows_after_topk_are_the_unsorted_ones_without_a_label() -> None:
    check(
        "_contrib_MultiBoxDetection",
        SCENE,
        f32(
            [
                [
                    [0, 0.9, 0.5, 0.09999999, 1, 0.4],
                    [1, 0.6, 0.6, 0.6, 0.9, 0.9],
                    [-1, 0.6, 0.6, 0.6, 0.9, 0.9],
                    [-1, 0.9, 0.5, 0.09999999, 1, 0.4],
                    [-1, -1, -1, -1, -1, -1],
                ]
            ]
        ),
        nms_topk=2,
        threshold=0.4,
    )


def test_without_suppression_detections_stay_in_the_order_of_anchors() -> None:
    check(
        "_contrib_MultiBoxDetection",
        SCENE,
        f32(
            [
                [
                    [0, 0.5, 0.1, 0.1, 0.5, 0.5],
                    [0, 0.5, 0.1, 0.1, 0.5, 0.55],
                    [1, 0.6, 0.6, 0.6, 0.9, 0.9],
                    [0, 0.9, 0.5, 0.09999999, 1, 0.4],
                    [-1, -1, -1, -1, -1, -1],
                ]
            ]
        ),
        nms_threshold=0,
        threshold=0.4,
    )


def test_boxes_may_leave_the_image_without_clip() -> None:
    check(
        "_contrib_MultiBoxDetection",
        SCENE,
        f32(
            [
                [
                    [0, 0.9, 0.5, 0.09999999, 1.2, 0.4],
                    [-1, -1, -1, -1, -1, -1],
                    [-1, -1, -1, -1, -1, -1],
                    [-1, -1, -1, -1, -1, -1],
                    [-1, -1, -1, -1, -1, -1],
                ]
            ]
        ),
        clip=False,
        threshold=0.8,
    )


def test_offsets_move_and_stretch_anchors() -> None:
    anchors = [[[0.1, 0.1, 0.3, 0.5], [0.5, 0.5, 0.9, 0.9]]]
    offsets = [[1, -1, 0.5, 0.2, -0.3, 0.4, -1, 1], [0, 0, 0, 0, 1, 1, 1, 1]]
    classes = [[[0.1, 0.2], [0.9, 0.8]], [[0.4, 0.3], [0.6, 0.7]]]
    check(
        "_contrib_MultiBoxDetection",
        [classes, offsets, anchors],
        f32(
            [
                [[0, 0.9, 0.1178597, 0, 0.3621403, 0.4010342], [0, 0.8, 0.541936, 0.4182557, 0.810064, 1]],
                [[0, 0.7, 0.481635, 0.4902558, 1, 1], [0, 0.6, 0.09999999, 0.1, 0.3, 0.5]],
            ]
        ),
        variances="(0.2, 0.3, 0.4, 0.5)",
    )


def test_the_first_of_equally_probable_classes_wins() -> None:
    check(
        "_contrib_MultiBoxDetection",
        [[[[0.1], [0.4], [0.4]]], [[0, 0, 0, 0]], [[[0.1, 0.1, 0.5, 0.5]]]],
        f32([[[0, 0.4, 0.1, 0.1, 0.5, 0.5]]]),
    )


def test_probabilities_of_the_background_alone_are_refused() -> None:
    message = refusal("_contrib_MultiBoxDetection", [[[[0.1]]], [[0, 0, 0, 0]], [[[0.1, 0.1, 0.5, 0.5]]]])
    assert "expected the background and at least one class" in message
