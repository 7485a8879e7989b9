"""Image preprocessing: expected values are MXNet 1.9.1's."""

from __future__ import annotations

import numpy as np

from tests.converters.mxnet.operators import check, f32, refusal, u8

PHOTO = u8([[[0, 10, 200], [50, 20, 100], [255, 30, 0]], [[90, 40, 7], [60, 50, 9], [30, 60, 11]]])


def test_channels_come_first_as_parts_of_1() -> None:
    check(
        "_image_to_tensor",
        [PHOTO],
        f32(
            [
                [[0, 0.1960784, 1], [0.3529412, 0.2352941, 0.1176471]],
                [[0.03921569, 0.07843138, 0.1176471], [0.1568628, 0.1960784, 0.2352941]],
                [[0.7843137, 0.3921569, 0], [0.02745098, 0.03529412, 0.04313726]],
            ]
        ),
        symbolic=False,
    )


def test_a_batch_keeps_its_axis_and_floats_are_divided_too() -> None:
    check("_image_to_tensor", [f32([[[[255, 51]]]])], f32([[[[1]], [[0.2]]]]))


def test_each_channel_has_its_mean_and_deviation() -> None:
    check(
        "_image_normalize",
        [f32([[[1, 2]], [[3, 4]], [[5, 6]]])],
        f32([[[0.25, 0.75]], [[0.5, 0.75]], [[6, 8]]]),
        mean="(0.5, 1, 2)",
        std="(2, 4, 0.5)",
    )


def test_one_mean_stands_for_all_channels_of_a_batch() -> None:
    check(
        "_image_normalize",
        [f32([[[[1, 2]], [[3, 4]], [[5, 6]]]])],
        f32([[[[0, 0.5]], [[1, 1.5]], [[2, 2.5]]]]),
        mean="1",
        std="2",
    )


def test_means_for_other_channels_are_refused() -> None:
    assert "expected 1 number, or one for each channel" in refusal("_image_normalize", [f32([[[[1]]]])], mean="(1, 2)")


def test_a_part_is_cut_out() -> None:
    check("_image_crop", [PHOTO], PHOTO[1:2, 1:3], symbolic=False, x=1, y=1, width=2, height=1)


def test_a_part_beyond_the_edge_is_refused() -> None:
    message = refusal("_image_crop", [PHOTO], x=2, y=0, width=2, height=1)
    assert "expected at least 4 columns" in message


def test_bytes_are_resized_in_whole_numbers_as_by_opencv() -> None:
    check(
        "_image_resize",
        [PHOTO],
        u8(
            [
                [[0, 10, 200], [31, 16, 137], [127, 24, 62], [255, 30, 0]],
                [[45, 25, 104], [51, 31, 73], [88, 39, 36], [143, 45, 6]],
                [[90, 40, 7], [71, 46, 8], [49, 54, 10], [30, 60, 11]],
            ]
        ),
        symbolic=False,
        size="(4, 3)",
    )


def test_floats_are_resized_exactly() -> None:
    check(
        "_image_resize",
        [PHOTO.astype(np.float32)],
        f32(
            [
                [[12.5, 12.5, 175], [203.75, 27.5, 25]],
                [[47.5, 27.5, 91.25], [120.625, 42.5, 17.75]],
                [[82.5, 42.5, 7.5], [37.5, 57.5, 10.5]],
            ]
        ),
        size="(2, 3)",
    )


def test_the_nearest_pixel() -> None:
    check(
        "_image_resize",
        [PHOTO],
        u8([[[0, 10, 200], [0, 10, 200], [50, 20, 100], [50, 20, 100], [255, 30, 0]]]),
        size="(5, 1)",
        interp=0,
    )


def test_one_number_is_a_square() -> None:
    check("_image_resize", [PHOTO], u8([[[55, 35, 55]]]), size="1")


def test_the_shorter_side_with_keep_ratio() -> None:
    check(
        "_image_resize",
        [PHOTO.astype(np.float32)],
        f32(
            [
                [[0, 10, 200], [31.25, 16.25, 137.5], [126.875, 23.75, 62.5], [255, 30, 0]],
                [[45, 25, 103.5], [51.25, 31.25, 72.875], [87.8125, 38.75, 36.125], [142.5, 45, 5.5]],
                [[90, 40, 7], [71.25, 46.25, 8.25], [48.75, 53.75, 9.75], [30, 60, 11]],
            ]
        ),
        size="3",
        keep_ratio=True,
    )


def test_other_interpolations_are_refused() -> None:
    message = refusal("_image_resize", [PHOTO], size="2", interp=2)
    assert message.endswith("attribute 'interp': expected 0 (nearest) or 1 (bilinear), got 2")
