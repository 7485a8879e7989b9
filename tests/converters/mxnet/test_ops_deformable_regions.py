"""Regions whose cells are moved by learnt offsets: expected values are MXNet 1.9.1's."""

from __future__ import annotations

import numpy as np

from tests.converters.mxnet.operators import check, f32, refusal, waves

OP = "_contrib_DeformablePSROIPooling"
ROIS = f32([[1, 2.4, 1.5, 9, 8.5], [0, -6, 0, 4, 20]])
SMALL = {"spatial_scale": 0.5, "pooled_size": 2, "sample_per_part": 2}


def test_cells_without_offsets_are_means_of_samples_of_channels_of_their_own() -> None:
    check(
        OP,
        [waves(2, 4, 5, 6), ROIS],
        f32([[[[-0.31466, -0.1451727], [-0.01392435, 0.394104]]], [[[0, 0.2356773], [0, 0]]]]),
        no_trans=True,
        output_dim=1,
        group_size=2,
        **SMALL,
    )


def test_cells_of_one_group_read_the_same_channels() -> None:
    check(
        OP,
        [waves(2, 2, 5, 6), ROIS],
        f32(
            [
                [
                    [[-0.2190434, -0.1642475], [0.1843598, 0.4326956]],
                    [[-0.06438914, 0.0800112], [-0.5115075, 0.2389618]],
                ],
                [[[0, 0.05272126], [0, 0]], [[0, 0.2356773], [0, 0]]],
            ]
        ),
        no_trans=True,
        output_dim=2,
        group_size=1,
        **SMALL,
    )


def test_cells_move_by_parts_of_the_region_with_x_first() -> None:
    attrs = SMALL | {"output_dim": 1, "group_size": 1, "trans_std": 0.2}
    check(
        OP,
        [waves(2, 1, 5, 6), ROIS, waves(2, 2, 2, 2)],
        f32([[[[0.1416486, 0.1931667], [0.2435749, 0.4604787]]], [[[0, -0.2712875], [0, -0.04457479]]]]),
        **attrs,
    )


def test_sets_of_offsets_are_for_a_share_of_the_channels_and_parts_for_several_cells() -> None:
    attrs = SMALL | {"output_dim": 2, "group_size": 2, "trans_std": 0.3, "part_size": 1}
    check(
        OP,
        [waves(2, 8, 5, 6), ROIS, waves(2, 4, 1, 1)],
        f32(
            [
                [
                    [[-0.3856412, -0.2490699], [0.2088638, -0.03268638]],
                    [[-0.05534286, 0.05485138], [-0.1121064, 0.09635673]],
                ],
                [[[0, 0], [0, -0.2858662]], [[0, 0], [0, 0]]],
            ]
        ),
        **attrs,
    )


def test_a_region_outside_of_the_map_is_0() -> None:
    attrs = SMALL | {"output_dim": 1, "group_size": 1, "no_trans": True}
    check(OP, [waves(1, 1, 5, 6), [[0, 90, 90, 95, 95]]], np.zeros((1, 1, 2, 2), np.float32), **attrs)


def test_channels_that_sets_of_offsets_do_not_divide_are_refused() -> None:
    attrs = SMALL | {"output_dim": 3, "group_size": 1, "trans_std": 0.2}
    message = refusal(OP, [waves(2, 3, 5, 6), ROIS, waves(2, 4, 2, 2)], **attrs)
    assert message.endswith("expected output_dim to be a multiple of 2 sets of offsets, got 3")


def test_absurd_samples_are_refused() -> None:
    attrs = SMALL | {"output_dim": 1, "group_size": 1, "no_trans": True, "sample_per_part": 10**9}
    assert "1000000000 samples" in refusal(OP, [waves(2, 1, 5, 6), ROIS], **attrs)
