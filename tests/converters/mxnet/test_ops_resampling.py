"""Feature maps in another size: expected values are MXNet 1.9.1's."""

from __future__ import annotations

import numpy as np
import pytest

from tests.converters.mxnet.operators import check, counted, f32, f64, refusal

LINE = f32([[[[0, 1, 4, 9]]]])
SQUARE = f32([[[[1, 2, 4], [8, 16, 32], [64, 128, 256]]]])


def test_resizing_aligns_corners_by_default() -> None:
    check(
        "_contrib_BilinearResize2D", [SQUARE], f32([[[[1, 1.5, 2, 3, 4], [64, 96, 128, 192, 256]]]]), height=2, width=5
    )


def test_resizing_by_centres_of_pixels() -> None:
    check(
        "_contrib_BilinearResize2D",
        [SQUARE],
        f32([[[[2.75, 3.85, 5.5, 8.800001, 11], [50, 70.00001, 100, 160, 200]]]]),
        height=2,
        width=5,
        align_corners=False,
    )


@pytest.mark.parametrize("align_corners", [True, False])
def test_an_output_of_one_pixel_is_the_first(align_corners: bool) -> None:
    check("_contrib_BilinearResize2D", [SQUARE], f32([[[[1]]]]), align_corners=align_corners)


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("to_even_down", (4, 4)), ("to_even_up", (4, 6)), ("to_odd_down", (3, 5)), ("to_odd_up", (5, 5))],
)
@pytest.mark.parametrize("symbolic", [True, False])
def test_sizes_of_another_parity_are_the_next(mode: str, shape: tuple[int, int], symbolic: bool) -> None:
    data = np.ones((1, 1, 4, 5), np.float32)
    check("_contrib_BilinearResize2D", [data], np.ones((1, 1, *shape), np.float32), mode=mode, symbolic=symbolic)


def test_odd_scale_keeps_first_and_last_pixel_of_odd_sizes() -> None:
    attrs = {"mode": "odd_scale", "scale_height": 2, "scale_width": 1.5}
    check("_contrib_BilinearResize2D", [np.ones((1, 1, 4, 5), np.float32)], np.ones((1, 1, 8, 7), np.float32), **attrs)


def test_scales_win_over_sizes() -> None:
    attrs = {"height": 3, "width": 3, "scale_height": 0.7}
    check("_contrib_BilinearResize2D", [np.ones((1, 1, 5, 5), np.float32)], np.ones((1, 1, 3, 3), np.float32), **attrs)


def test_resizing_like_another_map() -> None:
    check(
        "_contrib_BilinearResize2D", [LINE, np.zeros((1, 3, 2, 3), np.float32)], f32([[[[0, 2.5, 9]] * 2]]), mode="like"
    )


def test_resizing_of_doubles() -> None:
    check("_contrib_BilinearResize2D", [LINE.astype(np.float64)], f64([[[[0, 2.5, 9]]]]), height=1, width=3)


def test_an_unknown_mode_is_refused() -> None:
    assert "expected size, odd_scale, like or to_even_down" in refusal("_contrib_BilinearResize2D", [LINE], mode="next")


def test_an_absurd_size_is_refused() -> None:
    assert "expected a size of 1 to 65536" in refusal("_contrib_BilinearResize2D", [LINE], height=10**9, width=1)


def test_nearest_repeats_pixels() -> None:
    check("UpSampling", [f32([[[[1, 2]]]])], f32([[[[1, 1, 2, 2], [1, 1, 2, 2]]]]), scale=2, sample_type="nearest")


def test_nearest_of_doubles() -> None:
    check("UpSampling", [f64([[[[1, 2]]]])], f64([[[[1, 1, 2, 2], [1, 1, 2, 2]]]]), scale=2, sample_type="nearest")


def test_several_inputs_come_to_the_size_of_the_first_and_are_joined() -> None:
    inputs = [f32([[[[1, 2], [3, 4]]]]), f32([[[[5]]]])]
    first, second = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]], [[5] * 4] * 4
    check("UpSampling", inputs, f32([[first, second]]), scale=2, sample_type="nearest", num_args=2)


def test_several_inputs_are_added() -> None:
    inputs = [f32([[[[1, 2], [3, 4]]]]), f32([[[[5]]]])]
    summed = [[6, 6, 7, 7], [6, 6, 7, 7], [8, 8, 9, 9], [8, 8, 9, 9]]
    check("UpSampling", inputs, f32([[summed]]), scale=2, sample_type="nearest", num_args=2, multi_input_mode="sum")


def test_bilinear_is_a_transposed_convolution_of_each_channel() -> None:
    weight = f32([0.25, 0.75, 0.75, 0.25])
    kernel = np.stack([np.outer(weight, weight), np.outer(weight, weight) * 2])[:, None]
    check(
        "UpSampling",
        [counted(1, 2, 2, 2), kernel],
        f32(
            [
                [
                    [
                        [0, 0.1875, 0.5625, 0.5625],
                        [0.375, 0.75, 1.25, 1.125],
                        [1.125, 1.75, 2.25, 1.875],
                        [1.125, 1.6875, 2.0625, 1.6875],
                    ],
                    [
                        [4.5, 6.375, 7.125, 5.625],
                        [6.75, 9.5, 10.5, 8.25],
                        [8.25, 11.5, 12.5, 9.75],
                        [6.75, 9.375, 10.125, 7.875],
                    ],
                ]
            ]
        ),
        constants=(1,),
        scale=2,
        sample_type="bilinear",
        num_filter=2,
        num_args=2,
    )


def test_bilinear_by_an_odd_scale() -> None:
    check(
        "UpSampling",
        [counted(1, 1, 2, 2), counted(1, 1, 5, 5)],
        f32(
            [
                [
                    [
                        [0, 0, 5, 6, 7, 8],
                        [0, 0, 10, 11, 12, 13],
                        [2, 4, 21, 27, 23, 27],
                        [12, 14, 51, 57, 43, 47],
                        [22, 24, 56, 61, 36, 39],
                        [32, 34, 81, 86, 51, 54],
                    ]
                ]
            ]
        ),
        constants=(1,),
        scale=3,
        sample_type="bilinear",
        num_filter=1,
        num_args=2,
    )


def test_an_absurd_scale_is_refused() -> None:
    message = refusal("UpSampling", [LINE], scale=10**9, sample_type="nearest")
    assert message.endswith("attribute 'scale': expected 1 to 1024, got 1000000000")


def test_adaptive_cells_overlap_where_sizes_do_not_divide() -> None:
    check("_contrib_AdaptiveAvgPooling2D", [SQUARE], f32([[[[6.75, 13.5], [54, 108]]]]), output_size="(2, 2)")


def test_adaptive_pooling_to_1_by_default() -> None:
    check("_contrib_AdaptiveAvgPooling2D", [SQUARE], f32([[[[511 / 9]]]]))


def test_adaptive_pooling_may_make_maps_larger() -> None:
    check(
        "_contrib_AdaptiveAvgPooling2D",
        [LINE],
        f32([[[[0, 0.5, 1, 4, 6.5, 9], [0, 0.5, 1, 4, 6.5, 9]]]]),
        output_size="(2, 6)",
    )


def test_adaptive_pooling_of_doubles() -> None:
    check("_contrib_AdaptiveAvgPooling2D", [LINE.astype(np.float64)], f64([[[[0.5, 6.5]]]]), output_size="(1, 2)")
