"""Region proposals: expected values are MXNet 1.9.1's."""

from __future__ import annotations

import numpy as np

from tests.converters.mxnet.operators import check, f32, refusal, waves

SCORES = np.concatenate([1 - np.abs(waves(1, 2, 2, 3)), np.abs(waves(1, 2, 2, 3))], axis=1)
OFFSETS = waves(1, 8, 2, 3) / 4
IMAGE = f32([[32, 48, 1]])
SMALL = {"scales": "(1, 2)", "ratios": "(1,)", "feature_stride": 16, "rpn_min_size": 4}


def test_the_best_proposals_come_first_and_are_repeated() -> None:
    check(
        "_contrib_Proposal",
        [SCORES, OFFSETS, IMAGE],
        f32(
            [
                [0, 2.459542, 7.927267, 31.55537, 31],
                [0, 28.80154, 15.62531, 42.26423, 27.44652],
                [0, 0, 0, 21.94008, 24.89583],
                [0, 4.483662, 0, 17.24811, 11.76374],
                [0, 10.85471, 5.213108, 30.09087, 17.1471],
                [0, 23.28479, 0, 47, 31],
                [0, 0, 10.66263, 12.21459, 31],
                [0, 35.52158, 19.30528, 47, 31],
                [0, 35.30823, 0, 46.98872, 14.55799],
                [0, 15.52346, 17.88491, 30.41773, 31],
            ]
        ),
        symbolic=False,
        rpn_post_nms_top_n=10,
        threshold=0.4,
        **SMALL,
    )


def test_only_the_best_before_suppression_compete() -> None:
    attrs = SMALL | {"rpn_pre_nms_top_n": 3, "rpn_post_nms_top_n": 3}
    check(
        "_contrib_Proposal",
        [SCORES, OFFSETS, IMAGE],
        f32(
            [
                [0, 2.459542, 7.927267, 31.55537, 31],
                [0, 28.80154, 15.62531, 42.26423, 27.44652],
                [0, 0, 0, 21.94008, 24.89583],
            ]
        ),
        symbolic=False,
        **attrs,
    )


def test_small_boxes_and_cells_outside_of_the_image_come_last() -> None:
    attrs = SMALL | {"rpn_min_size": 30, "rpn_post_nms_top_n": 8, "threshold": 0.9, "output_score": True}
    check(
        "_contrib_Proposal",
        [SCORES, OFFSETS, f32([[30, 33, 0.9]])],
        [
            f32(
                [
                    [0, -9.016338, -13.5, 30.74811, 25.26374],
                    [0, -13.5, -13.5, 35.44009, 38.39583],
                    [0, -2.645291, -8.286892, 43.59087, 30.6471],
                    [0, -6.491688, -13.5, 45.02555, 38.30366],
                    [0, 18.5, -13.5, 45.5, 28.05799],
                    [0, 9.784786, -13.5, 45.5, 42.5],
                    [0, -12.88325, 0.07801723, 25.58003, 42.5],
                    [0, 2.023458, 4.384911, 43.91772, 42.5],
                ]
            ),
            f32([[-1], [-1], [-1], [-1], [-1], [-1], [-1], [-1]]),
        ],
        symbolic=False,
        **attrs,
    )


def test_offsets_may_be_those_of_corners() -> None:
    attrs = SMALL | {"iou_loss": True, "rpn_post_nms_top_n": 4}
    check(
        "_contrib_Proposal",
        [SCORES, OFFSETS * 9, IMAGE],
        f32(
            [
                [0, 6.173972, 7.506492, 38.44785, 31],
                [0, 29.7685, 14.8952, 46.09085, 29.00661],
                [0, 0, 0, 21.49219, 25.21652],
                [0, 6.809449, 0, 36.96256, 24.58066],
            ]
        ),
        symbolic=False,
        **attrs,
    )


def test_sides_of_anchors_are_rounded_for_each_ratio() -> None:
    scores, offsets = np.abs(waves(1, 12, 1, 1)), np.zeros((1, 24, 1, 1), np.float32)
    attrs = {"scales": "(2, 3.5)", "ratios": "(0.5, 0.7, 2)", "feature_stride": 10, "rpn_min_size": 0, "threshold": 1}
    check(
        "_contrib_Proposal",
        [scores, offsets, [[10, 10, 1]]],
        f32([[0, 0, 0, 9, 9], [0, 0, 0, 9, 9], [0, 0, 0, 9, 9], [0, 0, 0, 9, 9], [0, 0, 0, 9, 9], [0, 0, 0, 9, 9]]),
        symbolic=False,
        rpn_post_nms_top_n=6,
        **attrs,
    )


def test_several_images_have_proposals_of_their_own() -> None:
    scores, offsets = np.concatenate([SCORES, SCORES[:, ::-1]]), np.concatenate([OFFSETS, -OFFSETS])
    attrs = SMALL | {"rpn_post_nms_top_n": 3, "output_score": True}
    check(
        "_contrib_MultiProposal",
        [scores, offsets, [[32, 48, 1], [32, 40, 2]]],
        [
            f32(
                [
                    [0, 2.459542, 7.927267, 31.55537, 31],
                    [0, 28.80154, 15.62531, 42.26423, 27.44652],
                    [0, 0, 0, 21.94008, 24.89583],
                    [1, 13.48022, 7.875149, 39, 31],
                    [1, 0, 4.351086, 34.42952, 31],
                    [1, 0, 18.40326, 18.42178, 31],
                ]
            ),
            f32([[0.9988152], [0.9917789], [0.9537526], [0.8676482], [0.7120967], [0.4936343]]),
        ],
        **attrs,
    )


def test_one_operator_takes_one_image_only() -> None:
    scores = np.concatenate([SCORES, SCORES])
    message = refusal("_contrib_Proposal", [scores, OFFSETS, IMAGE], scales="()", ratios="(1,)")
    assert message.startswith("MXNet operator _contrib_Proposal (node 'node'): ")
