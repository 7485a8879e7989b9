"""Sampling at computed places, deformable convolution, correlation: expected values are MXNet 1.9.1's."""

from __future__ import annotations

import numpy as np

from tests.converters.mxnet.operators import check, f32, refusal, waves

IMAGE = waves(1, 1, 3, 4)


def test_an_affine_grid_holds_x_then_y() -> None:
    check(
        "GridGenerator",
        [[[1, 0.5, 0.25, 0, 2, -1]]],
        f32([[[[-1.25, -0.25, 0.75], [-0.25, 0.75, 1.75]], [[-3, -3, -3], [1, 1, 1]]]]),
        transform_type="affine",
        target_shape="(2, 3)",
    )


def test_a_warped_grid_adds_the_flow_in_pixels() -> None:
    flow = [[[[0, 0, 1], [0, 0.5, 0]], [[0, 1, 0], [0, 0, -1]]]]
    check(
        "GridGenerator", [flow], f32([[[[-1, 0, 2], [-1, 0.5, 1]], [[-1, 1, -1], [1, 1, -1]]]]), transform_type="warp"
    )


def test_an_unknown_grid_is_refused() -> None:
    message = refusal("GridGenerator", [[[0] * 6]], transform_type="polar", target_shape="(2, 2)")
    assert message.endswith("attribute 'transform_type': expected affine or warp, got 'polar'")


def test_an_absurd_grid_is_refused() -> None:
    message = refusal("GridGenerator", [[[0] * 6]], transform_type="affine", target_shape="(100000, 100000)")
    assert message.endswith("expected 1 to 8192 a side, got (100000, 100000)")


def test_the_sampler_mixes_neighbours_and_sees_0_outside() -> None:
    grid = [[[[-1, -0.5, 0.1], [1, 1.2, -3]], [[-1, 0.3, 0.2], [1, 0.9, 0]]]]
    check("BilinearSampler", [IMAGE, grid], f32([[[[0.841471, -0.7050193, -0.6792489], [-0.4910216, -0.2449417, 0]]]]))


def test_a_spatial_transformer_is_grid_and_sampler() -> None:
    attrs = {"transform_type": "affine", "sampler_type": "bilinear", "target_shape": "(2, 3)"}
    check(
        "SpatialTransformer",
        [IMAGE, [[0.5, 0.1, 0, -0.2, 0.8, 0.3]]],
        f32([[[[-0.4888535, -0.663075, 0.009568968], [-0.3631026, 0.4248019, 0.3421683]]]]),
        **attrs,
    )


def test_deformable_convolution_sees_the_last_pixel_up_to_the_edge_and_0_before_the_first() -> None:
    offsets = f32([0, 0.5, -0.25, 0, 0, 0, 0, -0.5, 0.75, 0, 0, 0, 0.5, 0.6, 0, 0, 0, 0.9, 1, 0, 0, 0, 0, 2])
    attrs = {"kernel": "(1, 1)", "num_filter": 1}
    check(
        "_contrib_DeformableConvolution",
        [IMAGE, offsets.reshape(1, 2, 3, 4), [[[[2]]]], [0.5]],
        f32(
            [
                [
                    [
                        [0.5846685, -0.5244131, 0.5, -0.07580662],
                        [0.2352965, -1.41511, 2.340052, 1.132123],
                        [-0.759776, -0.5127313, 2.497631, 0.5],
                    ]
                ]
            ]
        ),
        constants=(2, 3),
        **attrs,
    )


def test_deformable_groups_stride_pad_and_dilate() -> None:
    attrs = {"kernel": "(2, 1)", "num_filter": 2, "num_deformable_group": 2, "num_group": 2, "no_bias": True}
    shape = {"stride": "(2, 1)", "pad": "(1, 0)", "dilate": "(2, 1)"}
    check(
        "_contrib_DeformableConvolution",
        [waves(1, 2, 3, 4), waves(1, 8, 2, 4), waves(2, 1, 2, 1)],
        f32(
            [
                [
                    [[0.1977125, 0.2150169, 0.2029638, -0.1542301], [0, 0.278331, -0.5802886, 0.9011189]],
                    [[-0.09057825, 0.03400781, 0.03103765, 0.1263947], [0.1934991, -0.2204104, 0.107514, -0.2915558]],
                ]
            ]
        ),
        **attrs,
        **shape,
    )


def test_modulated_convolution_mixes_with_0_outside() -> None:
    attrs = {"kernel": "(1, 2)", "num_filter": 1, "pad": "(0, 1)"}
    inputs = [IMAGE, waves(1, 4, 3, 5), np.abs(waves(1, 2, 3, 5)), waves(1, 1, 1, 2), f32([0.5])]
    check(
        "_contrib_ModulatedDeformableConvolution",
        inputs,
        f32(
            [
                [
                    [
                        [0.4959343, 0.6276556, 0.678944, 0.5518706, 0.6238366],
                        [1.477317, 0.9263523, 1.01438, 0.01611796, 0.6082672],
                        [0.7333649, 0.428561, 0.3279855, 0.5687432, 0.5042798],
                    ]
                ]
            ]
        ),
        **attrs,
    )


def test_a_deformable_kernel_of_one_axis_is_refused() -> None:
    inputs = [IMAGE, np.zeros((1, 2, 3, 4)), np.zeros((1, 1, 1, 1))]
    message = refusal("_contrib_DeformableConvolution", inputs, kernel="(3,)", num_filter=1, no_bias=True)
    assert message.endswith("attribute 'kernel': expected (h, w) with at most 1024 points, got (3,)")


def test_correlation_has_a_channel_for_each_displacement() -> None:
    check(
        "Correlation",
        [waves(1, 2, 2, 2), waves(1, 2, 2, 2)[:, :, ::-1]],
        f32(
            [
                [
                    [[0, 0], [0, -0.4980638]],
                    [[0, 0], [0.5397428, 0.4646681]],
                    [[0, 0], [-0.4980638, 0]],
                    [[0, 0.3170097], [0, -0.1820147]],
                    [[0.2365083, -0.3472883], [0.2365083, -0.3472883]],
                    [[-0.1820147, 0], [0.3170097, 0]],
                    [[0, -0.2527818], [0, 0]],
                    [[0.3627952, 0.7781876], [0, 0]],
                    [[-0.2527818, 0], [0, 0]],
                ]
            ]
        ),
        pad_size=1,
        max_displacement=1,
    )


def test_correlation_over_a_kernel_at_steps() -> None:
    attrs = {"kernel_size": 3, "max_displacement": 3, "stride1": 2, "stride2": 2, "pad_size": 3}
    check(
        "Correlation",
        [waves(1, 2, 5, 6), waves(1, 2, 6, 5).reshape(1, 2, 5, 6)],
        f32(
            [
                [
                    [[-0.06081648, -0.03303842], [-0.07536476, -0.07986285]],
                    [[-0.06390105, 0.05494674], [-0.1223446, 0.06484031]],
                    [[0.01162873, -0.004726155], [0.1174984, -0.02265665]],
                    [[0.103853, -0.03726392], [0.1011446, 0.03985642]],
                    [[0.5856428, 0.4273145], [0.464386, 0.4964052]],
                    [[-0.03726392, 0.0645359], [0.03985642, 0.04290208]],
                    [[0.05400081, 0.1174984], [0.009581201, -0.01011693]],
                    [[-0.1223446, 0.06484031], [0.03270388, 0.04231652]],
                    [[-0.07986285, -0.02671229], [0.04578638, 0.007173692]],
                ]
            ]
        ),
        **attrs,
    )


def test_correlation_of_differences() -> None:
    check(
        "Correlation",
        [waves(1, 2, 2, 2), waves(1, 2, 2, 2)[:, :, ::-1]],
        f32(
            [
                [
                    [[0.4869114, 0.8742907], [0.6829356, 1.2869]],
                    [[0.4869114, 0.8742907], [0, 0]],
                    [[0.4869114, 0.8742907], [1.2869, 0.6039647]],
                    [[0.4869114, 0.6034736], [0.6829356, 1.090876]],
                    [[0.6253767, 1.190352], [0.6253767, 1.190352]],
                    [[1.090876, 0.8742907], [0.6034736, 0.6039647]],
                    [[0.4869114, 1.22885], [0.6829356, 0.6039647]],
                    [[0, 0], [0.6829356, 0.6039647]],
                    [[1.22885, 0.8742907], [0.6829356, 0.6039647]],
                ]
            ]
        ),
        pad_size=1,
        is_multiply=False,
    )


def test_absurd_displacements_are_refused() -> None:
    message = refusal("Correlation", [IMAGE, IMAGE], max_displacement=10**9)
    assert message.endswith("expected at most 129 displacements an axis, got 2000000001")
