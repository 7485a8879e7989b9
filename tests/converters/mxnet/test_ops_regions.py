"""Regions of interest: expected values are MXNet 1.9.1's."""

from __future__ import annotations

import numpy as np

from tests.converters.mxnet.operators import check, f32, f64, refusal, waves

MAPS = waves(2, 1, 5, 6)
ROIS = f32([[1, 2.4, 1.5, 9, 8.5], [0, -3, 0, 4, 20]])
HALF = {"pooled_size": "(2, 2)", "spatial_scale": 0.5}


def test_roi_pooling_rounds_corners_and_takes_maxima() -> None:
    check(
        "ROIPooling",
        [MAPS, ROIS],
        f32([[[[0.9704917, -0.2453981], [0.7902855, 0.7902855]]], [[[0.841471, 0.9395301], [0, 0]]]]),
        **HALF,
    )


def test_roi_pooling_outside_of_the_map_is_0() -> None:
    check("ROIPooling", [MAPS, [[0, 40, 40, 50, 50]]], np.zeros((1, 1, 2, 2), np.float32), **HALF)


def test_roi_pooling_of_doubles() -> None:
    check(
        "ROIPooling",
        [MAPS.astype(np.float64), ROIS.astype(np.float64)],
        f64([[[[0.9704917, -0.2453981], [0.7902855, 0.7902855]]], [[[0.841471, 0.9395301], [0, 0]]]]),
        **HALF,
    )


def test_roi_align_has_as_many_points_as_pixels_by_default() -> None:
    check(
        "_contrib_ROIAlign",
        [MAPS, ROIS],
        f32([[[[0.2379511, -0.5544018], [0.200581, 0.403561]]], [[[-0.05916061, -0.04843963], [0, 0]]]]),
        **HALF,
    )


def test_roi_align_with_a_number_of_points() -> None:
    check(
        "_contrib_ROIAlign",
        [MAPS, ROIS],
        f32([[[[0.2350653, -0.533532], [0.2449026, 0.3539924]]], [[[-0.1421864, -0.03169157], [0, 0]]]]),
        sample_ratio=3,
        **HALF,
    )


def test_roi_align_moved_by_half_a_pixel() -> None:
    check(
        "_contrib_ROIAlign",
        [MAPS, ROIS],
        f32([[[[0.1912423, -0.4460831], [0.08674638, 0.2150937]]], [[[-0.0628507, -0.1212705], [0, 0]]]]),
        sample_ratio=2,
        aligned=True,
        **HALF,
    )


def test_a_region_of_a_negative_image_is_0() -> None:
    found = np.zeros((1, 1, 2, 2), np.float32)
    check("_contrib_ROIAlign", [MAPS, [[-1, 2, 2, 8, 8]]], found, sample_ratio=2, **HALF)


def test_position_sensitive_cells_read_channels_of_their_own() -> None:
    check(
        "_contrib_ROIAlign",
        [waves(1, 8, 4, 5), [[0, 1, 1, 7, 6]]],
        f32(
            [[[[-0.3767374, -0.4965157], [0.5948942, 0.4351797]], [[-0.1804976, 0.07283998], [0.6370735, -0.2697225]]]]
        ),
        position_sensitive=True,
        sample_ratio=2,
        **HALF,
    )


def test_psroi_pooling_takes_means_of_channels_of_their_own() -> None:
    rois = [[0, 1, 1.5, 7, 6], [0, 2, 2, 2, 2]]
    check(
        "_contrib_PSROIPooling",
        [waves(1, 8, 4, 5), rois],
        f32(
            [
                [
                    [[-0.1866186, -0.2492654], [0.4593053, 0.6206577]],
                    [[-0.005043492, 0.4705859], [0.3685426, -0.1840298]],
                ],
                [
                    [[-0.9537526, 0.1499368], [-0.4442747, 0.3296209]],
                    [[-0.7853724, 0.8605611], [0.06327417, 0.9025815]],
                ],
            ]
        ),
        output_dim=2,
        pooled_size=2,
        spatial_scale=0.5,
    )


def test_psroi_pooling_has_fewer_groups_than_cells() -> None:
    attrs = {"output_dim": 1, "pooled_size": 4, "group_size": 2, "spatial_scale": 0.5}
    check(
        "_contrib_PSROIPooling",
        [waves(1, 4, 4, 5), [[0, -1, 1.5, 7, 30]]],
        f32([[[[-0.3307239, -0.4105778, -0.2773099, -0.2417426], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]]]),
        **attrs,
    )


def test_absurd_sizes_are_refused() -> None:
    message = refusal("ROIPooling", [MAPS, ROIS], pooled_size="(1000000, 2)", spatial_scale=1)
    assert message.endswith("attribute 'pooled_size': expected 1 to 128 a side, got (1000000, 2)")
