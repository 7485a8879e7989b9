"""A picture in, the likeliest classes out: what the vision services of MXNet Model Server and TorchServe do.

Decoding and resizing are Pillow's, whose bilinear filter takes every pixel into account when it makes a picture
smaller (MXNet Model Server had OpenCV's bicubic one, which looks at sixteen; scores differ a little). Photographs are
turned upright by their EXIF orientation, as OpenCV does it and as people see them.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from converters.processors import plan_image
from model_store.errors import InternalError, InvalidInput, first_line
from model_store.manifest import ImageProcessor, Manifest
from serve.inference import Payload, Tensors
from serve.processors.base import part_of
from serve.processors.body_kinds import media_type
from serve.tensors import dtype_of

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
"""Others are refused: some of Pillow's readers start programs."""

MAX_PIXELS = 64_000_000
"""Of a picture, known from its header: a file of some kilobytes can claim far more."""


class PictureClassifier:
    """The processor `image`."""

    def __init__(self, manifest: Manifest) -> None:
        if not isinstance(manifest.processor, ImageProcessor):
            raise InternalError(f"version {manifest.version} of {manifest.name!r} has no processor of type image")
        self._spec = manifest.processor
        self._plan = plan_image(self._spec, manifest.signatures[manifest.default_signature])
        self._dtype = dtype_of(self._plan.input.name, self._plan.input.datatype)
        self._labels = manifest.labels
        std = np.array(self._spec.std or 1.0, np.float64)
        self._factor = (self._spec.scale / std).astype(np.float32)
        self._offset = (-np.array(self._spec.mean or 0.0, np.float64) / std).astype(np.float32)
        # Pillow's own bound is a warning up to twice its size. The size is checked here, before a pixel is decoded.
        Image.MAX_IMAGE_PIXELS = None

    def decode(self, payload: Payload) -> tuple[Tensors, None]:
        """The picture as one row of the input. It is the body, the form's part for the input, or base64 inside JSON.

        Raises `InvalidInput` for what is no picture, is cut off, or has more than `MAX_PIXELS`.
        """
        name = self._plan.input.name
        return {name: self._row(_pixels(_picture(payload, name), self._spec.colour, self._resized))}, None

    def encode(self, outputs: Tensors, form: None) -> Payload:
        """The `top` likeliest classes in the style of the server that the processor stands for."""
        scores = outputs[self._plan.output.name].ravel().astype(np.float64)
        if self._spec.softmax:
            scores = np.exp(scores - scores.max(initial=-np.inf))
            scores /= scores.sum()
        best = np.argsort(-scores, kind="stable")[: self._spec.top].tolist()
        answer = _STYLES[self._spec.style]([(self._label(index), float(scores[index])) for index in best])
        return Payload(json.dumps(answer, indent=2, ensure_ascii=False).encode(), "application/json")

    def _resized(self, image: Image.Image) -> Image.Image:
        size = (self._plan.width, self._plan.height)
        if self._spec.resize_shorter is None:
            return image.resize(size, Image.Resampling.BILINEAR)
        width, height = (side * self._spec.resize_shorter // min(image.size) for side in image.size)
        if width * height > MAX_PIXELS:
            raise InvalidInput(f"a picture of {image.width} x {image.height} pixels is too narrow for this model")
        left, top = round((width - size[0]) / 2), round((height - size[1]) / 2)
        whole = image.resize((width, height), Image.Resampling.BILINEAR)
        return whole.crop((left, top, left + size[0], top + size[1]))

    def _row(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [height, width, channels] as one row of the input."""
        values = pixels.astype(np.float32) * self._factor + self._offset
        if self._dtype.kind in "iu":
            limits = np.iinfo(self._dtype)
            values = values.round().clip(limits.min, limits.max)
        if self._spec.layout == "NCHW":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[np.newaxis], self._dtype)

    def _label(self, index: int) -> str:
        if self._labels is not None and index < len(self._labels):
            return self._labels[index]
        return f"class_{index}" if self._spec.style == "mms" else str(index)


def _as_mms(best: list[tuple[str, float]]) -> Any:
    return [{"probability": score, "class": label} for label, score in best]


def _as_torchserve(best: list[tuple[str, float]]) -> Any:
    answer: dict[str, float] = {}
    for label, score in best:
        answer.setdefault(label, score)  # of two classes of one name, the likelier stays
    return answer


_STYLES = {"mms": _as_mms, "torchserve": _as_torchserve}


def _picture(payload: Payload, name: str) -> bytes:
    """The bytes of the picture, wherever the request has put them."""
    if payload.fields:
        part = part_of(payload, name)
        if part is None:
            got = ", ".join(f"{each!r:.40}" for each in payload.fields)
            raise InvalidInput(f"expected the picture in the form's part {name!r}, 'body' or 'data', got {got}")
        return payload.fields[part]
    if media_type(payload.content_type) == "application/json":
        return _from_json(payload.body, name)
    return payload.body


def _from_json(body: bytes, name: str) -> bytes:
    """`{name: base64}`, the name being the input's, `body` or `data`; `{"b64": base64}` alone or in its place."""
    try:
        content = msgspec.json.decode(body)
        for key in (name, "body", "data", "b64"):
            if isinstance(content, dict) and key in content:
                content = content[key]
        return base64.b64decode("".join(content.split()), validate=True)
    except (msgspec.DecodeError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInput(f'expected JSON as {{"{name}": "picture in base64"}}: {first_line(error)}') from error


def _pixels(picture: bytes, colour: str, resized: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """uint8 [height, width, channels] of the first frame, upright and resized."""
    try:
        with Image.open(io.BytesIO(picture), formats=FORMATS) as image:
            _check_size(image)
            pixels = np.asarray(resized(_upright(_flat(image, "L" if colour == "GRAY" else "RGB"))))
    except InvalidInput:
        raise
    except Exception as error:  # what damaged files make Pillow raise is of many types
        raise InvalidInput(_no_picture(picture, error)) from error
    if colour == "GRAY":
        return pixels[:, :, np.newaxis]
    return pixels[:, :, ::-1] if colour == "BGR" else pixels


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise InvalidInput(
            f"a picture of {image.width} x {image.height} pixels is too large; at most {MAX_PIXELS} pixels go"
        )


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """In colour or grey; what is transparent shows the colour below, as everywhere where nets are trained."""
    if image.mode.startswith("I"):
        # 16 bits a pixel, which Pillow would cut off at 255.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image.convert(mode)


def _upright(image: Image.Image) -> Image.Image:
    with contextlib.suppress(Exception):  # damaged EXIF is common, and no reason to refuse a picture
        return ImageOps.exif_transpose(image)
    return image


def _no_picture(picture: bytes, error: Exception) -> str:
    reason = "cut off or damaged" if not isinstance(error, UnidentifiedImageError) else "of another kind"
    return f"expected a picture ({', '.join(FORMATS)}), got {len(picture)} bytes that are {reason}: {picture[:12]!r}"
