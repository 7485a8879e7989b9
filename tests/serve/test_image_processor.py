"""Pictures to tensors and scores to classes: formats, colours, sizes, numbers, and what is refused."""

from __future__ import annotations

import base64
import contextlib
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_store.errors import InvalidInput
from model_store.manifest import ImageProcessor, TensorSpec
from serve.inference import Payload
from serve.processors.base import load_processor
from tests.serve.pictures import BLUE, GREEN, RED, WHITE, described, encoded, quarters

NHWC = TensorSpec("data", "FP32", (-1, 2, 2, 3))
GREY = TensorSpec("data", "FP32", (-1, 1, 2, 2))
PNG = encoded(quarters())


def decode(payload: Payload | bytes, *inputs: TensorSpec, **keys: Any) -> np.ndarray:
    """The one row that is made of a picture."""
    if isinstance(payload, bytes):
        payload = Payload(payload, "application/octet-stream")
    tensors, _ = load_processor(described(ImageProcessor(**keys), *inputs)).decode(payload)
    (row,) = tensors["data"]
    return row


def hwc(payload: Payload | bytes, **keys: Any) -> list[Any]:
    return decode(payload, NHWC, layout="NHWC", **keys).tolist()


QUARTERS = [[list(RED), list(GREEN)], [list(BLUE), list(WHITE)]]
SQUEEZED = [[[193, 36, 36], [62, 219, 36]], [[62, 36, 219], [193, 219, 219]]]
"""What a bilinear filter that takes every pixel into account makes of larger quarters."""


# -- formats and colours ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "picture",
    [
        PNG,
        encoded(quarters(), "BMP"),
        encoded(quarters(), "WEBP", lossless=True),
        encoded(quarters(mode="P"), "GIF"),
        encoded(quarters(mode="P")),
        encoded(quarters(mode="RGBA")),
    ],
    ids=["png", "bmp", "webp", "gif", "palette", "alpha"],
)
def test_a_picture_of_any_format_is_read(picture: bytes) -> None:
    assert hwc(picture) == QUARTERS


def test_a_larger_picture_is_squeezed() -> None:
    assert hwc(encoded(quarters(32))) == SQUEEZED


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_photograph_is_read(mode: str) -> None:
    photograph = encoded(quarters(32, mode=mode), "JPEG", quality=95, subsampling=0)
    assert np.abs(np.array(hwc(photograph)) - SQUEEZED).max() <= 4


def test_the_first_frame_counts() -> None:
    frames = [quarters(mode="P"), Image.new("P", (2, 2))]
    assert hwc(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == QUARTERS


@pytest.mark.parametrize("transparent", [{"transparency": 0}, {"transparency": bytes(16)}])
def test_what_is_transparent_shows_the_colour_below(transparent: dict[str, Any]) -> None:
    assert hwc(encoded(quarters(mode="P"), **transparent)) == QUARTERS


def test_channels_come_first_unless_the_layout_says_last() -> None:
    assert decode(PNG).tolist() == np.transpose(QUARTERS, (2, 0, 1)).tolist()


def test_colours_may_be_reversed_or_grey() -> None:
    assert hwc(PNG, colour="BGR") == [[[0, 0, 255], [0, 255, 0]], [[255, 0, 0], [255, 255, 255]]]
    assert decode(PNG, GREY, colour="GRAY").tolist() == [[[76, 150], [29, 255]]]


def test_a_grey_picture_fills_the_channels() -> None:
    assert hwc(encoded(Image.new("L", (4, 4), 7))) == [[[7] * 3] * 2] * 2


def test_sixteen_bits_a_pixel_are_scaled_and_not_cut_off() -> None:
    deep = Image.fromarray(np.full((4, 4), 0x8000, np.uint16))
    assert decode(encoded(deep), GREY, colour="GRAY").tolist() == [[[128, 128], [128, 128]]]


def test_a_photograph_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera turned: to be shown a quarter turn clockwise
    assert hwc(encoded(quarters(), exif=exif)) == [[list(BLUE), list(RED)], [list(WHITE), list(GREEN)]]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # Pillow's own word for it
def test_damaged_exif_is_no_reason_to_refuse() -> None:
    picture = encoded(quarters(32), "JPEG", quality=95, subsampling=0, exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff")
    assert np.abs(np.array(hwc(picture)) - SQUEEZED).max() <= 4


# -- sizes -----------------------------------------------------------------------------------------------------------


def test_the_centre_is_cut_out_after_resizing_the_shorter_side() -> None:
    wide = Image.new("RGB", (80, 20), RED)
    wide.paste(BLUE, (20, 0, 60, 20))
    assert hwc(encoded(wide), resize_shorter=2) == [[list(BLUE)] * 2] * 2
    assert hwc(encoded(wide))[0][0] != list(BLUE)


def test_free_sizes_are_the_processors() -> None:
    free = TensorSpec("data", "FP32", (-1, 3, -1, -1))
    assert decode(PNG, free, height=4, width=6).shape == (3, 4, 6)


def test_a_ribbon_does_not_become_larger_than_memory() -> None:
    ribbon = encoded(Image.new("L", (30_000, 1)))
    with pytest.raises(InvalidInput, match="a picture of 30000 x 1 pixels is too narrow for this model"):
        decode(ribbon, resize_shorter=256)


# -- numbers ---------------------------------------------------------------------------------------------------------


def test_pixels_are_scaled_and_normalised_by_channel() -> None:
    keys = {"scale": 1 / 255, "mean": (0.5, 0.25, 0.0), "std": (0.5, 0.25, 2.0)}
    assert hwc(PNG, **keys) == pytest.approx(np.array([[[1, -1, 0], [-1, 3, 0]], [[-1, -1, 0.5], [1, 3, 0.5]]]))
    assert hwc(PNG, mean=(55.0,), std=(100.0,))[0][0] == pytest.approx([2, -0.55, -0.55])


@pytest.mark.parametrize(("datatype", "dtype"), [("UINT8", "uint8"), ("FP16", "float16"), ("FP64", "float64")])
def test_the_tensor_has_the_inputs_datatype(datatype: str, dtype: str) -> None:
    row = decode(PNG, TensorSpec("data", datatype, (-1, 2, 2, 3)), layout="NHWC")
    assert (row.dtype, row.tolist()) == (dtype, QUARTERS)


def test_integers_are_rounded_and_stay_in_range() -> None:
    signed = TensorSpec("data", "INT8", (-1, 2, 2, 3))
    assert decode(PNG, signed, layout="NHWC", scale=1.996, mean=(200.0,)).tolist()[0][0] == [127, -128, -128]


# -- where the picture is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        Payload(PNG, ""),
        Payload(PNG, "image/jpeg"),
        Payload(b"", "multipart/form-data; boundary=b", {"other": b"x", "data": PNG}),
        Payload(b"", "multipart/form-data; boundary=b", {"body": PNG}),
        *(
            Payload(json.dumps(content).encode(), "application/json; charset=utf-8")
            for text in (base64.b64encode(PNG).decode(), base64.encodebytes(PNG).decode())
            for content in ({"data": text}, {"body": {"b64": text}}, {"b64": text})
        ),
    ],
)
def test_the_picture_is_the_body_a_field_or_base64(payload: Payload) -> None:
    assert hwc(payload) == QUARTERS


# -- refusals --------------------------------------------------------------------------------------------------------


def huge(width: int, height: int) -> bytes:
    """A PNG of some bytes that claims to be that large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


KINDS = "expected a picture (JPEG, PNG, WEBP, BMP, GIF), got"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", f"{KINDS} 0 bytes that are of another kind: b''"),
        (b"%PDF-1.7 and more", f"{KINDS} 17 bytes that are of another kind: b'%PDF-1.7 and'"),
        (PNG[:-30], f"{KINDS} {len(PNG) - 30} bytes that are cut off or damaged: {PNG[:12]!r}"),
        (huge(8001, 8000), "a picture of 8001 x 8000 pixels is too large; at most 64000000 pixels go"),
        (huge(60_000, 60_000), "a picture of 60000 x 60000 pixels is too large; at most 64000000 pixels go"),
        (Payload(b"", "", {"x": b"1"}), "expected the picture in the form's part 'data', 'body' or 'data', got 'x'"),
    ],
    ids=["empty", "pdf", "cut", "large", "bomb", "form"],
)
def test_what_is_no_picture_is_refused(payload: Payload | bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode(payload)
    assert caught.value.message == message


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"data": 1}', '{"data": "%%%%"}', '{"data": "é"}', "[" * 5000])
def test_json_without_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r'^expected JSON as \{"data": "picture in base64"\}: '):
        decode(Payload(text.encode(), "application/json"))


def test_flipped_bits_are_refused_or_read_but_never_break_it() -> None:
    photograph = encoded(quarters(8), "JPEG")
    for position in range(0, len(photograph), 7):
        damaged = bytearray(photograph)
        damaged[position] ^= 0x55
        with contextlib.suppress(InvalidInput):
            assert decode(bytes(damaged)).shape == (3, 2, 2)


# -- answers ---------------------------------------------------------------------------------------------------------


def answer(scores: list[float], labels: tuple[str, ...] | None = None, **keys: Any) -> Any:
    version = described(ImageProcessor(**keys), labels=labels)
    payload = load_processor(version).encode({"prob": np.array([scores], np.float64)}, None)
    assert (payload.content_type, payload.status) == ("application/json", 200)
    return json.loads(payload.body)


def test_the_likeliest_classes_come_first() -> None:
    assert answer([0.25, 0.5, 0.125], ("cat", "größe", "dog"), top=2) == [
        {"probability": 0.5, "class": "größe"},
        {"probability": 0.25, "class": "cat"},
    ]
    assert answer([0.25, 0.5]) == [
        {"probability": 0.5, "class": "class_1"},
        {"probability": 0.25, "class": "class_0"},
    ]


def test_torchserve_maps_labels_to_probabilities() -> None:
    three = answer([0.25, 0.5, 0.125], ("cat", "dog", "dog"), style="torchserve")
    assert (list(three), three) == (["dog", "cat"], {"dog": 0.5, "cat": 0.25})
    assert answer([0.25, 0.5], style="torchserve") == {"1": 0.5, "0": 0.25}


def test_scores_become_probabilities() -> None:
    best = answer([1000.0, 1000.0, -1000.0], softmax=True)
    assert [entry["probability"] for entry in best] == [0.5, 0.5, 0.0]
