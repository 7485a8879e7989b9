"""Files that people have, as the inputs of a model: `.npz`, `.npy`, CSV, JSON, images."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_store.datatypes import DTYPES
from model_store.errors import InvalidInput
from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, Signature, TensorSpec
from serve.client import Model
from serve.inference import Tensors
from serve.processors.array_files import read_npy, read_npz
from serve.processors.casting import cast
from serve.processors.csv_tensors import read_csv

Described = Sequence[TensorSpec]
"""The model's inputs."""

LARGEST_BODY_BYTES = 2**31 - 1
"""That an endpoint can be set to take."""


def goes_as_it_is(file: Path, model: Model) -> bool:
    """Whether the model takes the file's bytes: a handler takes all, a processor what holds no tensors."""
    if takes_bodies_only(model):
        return True
    return PAYLOAD in model.signatures and file.suffix.lower() not in _READERS


def takes_bodies_only(model: Model) -> bool:
    """Whether a handler answers it."""
    return [spec.name for spec in model.inputs] == [spec.name for spec in PAYLOAD_SIGNATURE.inputs]


def content_type_of(file: Path) -> str:
    """The media type that the file's name tells."""
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"


def read_inputs(file: Path, described: Described, scale: float) -> Tensors:
    """The inputs in `file`, in the datatypes that the model takes; `scale` multiplies the pixels of an image.

    Raises `InvalidInput` for a file of another kind, unknown names, and values that would lose their kind.
    """
    try:
        if reader := _READERS.get(file.suffix.lower()):
            named = reader(file, described)
        else:
            _check_image(file)
            named = {_only(described).name: read_image(file, _only(described), scale)}
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file}: can't be read: {error}") from error
    specs = {spec.name: spec for spec in described}
    for name in named:
        if name not in specs:
            raise InvalidInput(f"{file}: the model has no input {name!r}; inputs: {', '.join(specs)}")
    return {name: cast(name, tensor, specs[name].datatype) for name, tensor in named.items()}


def _read_npz(file: Path, described: Described) -> Tensors:
    return read_npz(file.read_bytes(), LARGEST_BODY_BYTES)


def _read_npy(file: Path, described: Described) -> Tensors:
    return {_only(described).name: read_npy(file.read_bytes())}


def _read_json(file: Path, described: Described) -> Tensors:
    content = json.loads(file.read_text())
    if isinstance(content, list):
        content = {_only(described).name: content}
    elif isinstance(content, dict) and _is_v2_request(content):
        return {sent["name"]: np.array(sent["data"]).reshape(sent["shape"]) for sent in content["inputs"]}
    if not isinstance(content, dict):
        raise InvalidInput(f"{file}: expected a list, an object of inputs or a v2 request")
    return {name: np.array(values) for name, values in content.items()}


def _read_csv(file: Path, described: Described) -> Tensors:
    return read_csv(file.read_bytes(), Signature(tuple(described), ()))


_READERS = {".npz": _read_npz, ".npy": _read_npy, ".json": _read_json, ".csv": _read_csv}


def _is_v2_request(content: dict[str, Any]) -> bool:
    """A model may have an input of the name `inputs` too: its values are no objects with these members."""
    sent = content.get("inputs")
    return isinstance(sent, list) and all(isinstance(e, dict) and {"name", "shape", "data"} <= e.keys() for e in sent)


def _check_image(file: Path) -> None:
    """Before anything is said of the model's inputs: these matter for images only."""
    from PIL import Image, UnidentifiedImageError

    try:
        Image.open(file).close()
    except UnidentifiedImageError as error:
        raise InvalidInput(f"{file}: expected a .npz, .npy, .csv, .json or image file") from error


def read_image(file: Path, spec: TensorSpec, scale: float) -> np.ndarray:
    """An image as one row of an NCHW or NHWC input, resized to the input's height and width.

    One channel makes it grey, three RGB; pixels are 0 to 255 times `scale`.
    """
    from PIL import Image

    channels_first, channels, height, width = _image_layout(spec)
    with Image.open(file) as image:
        pixels = image.convert("L" if channels == 1 else "RGB").resize((width, height))
        values = np.asarray(pixels, dtype=np.float32).reshape(height, width, channels) * np.float32(scale)
    if np.dtype(DTYPES[spec.datatype]).kind in "iu":
        values = values.round()
    return (values.transpose(2, 0, 1) if channels_first else values)[np.newaxis]


def _image_layout(spec: TensorSpec) -> tuple[bool, int, int, int]:
    shape = spec.shape
    if len(shape) == 4 and shape[1] in (1, 3) and min(shape[2:]) > 0:
        return True, shape[1], shape[2], shape[3]
    if len(shape) == 4 and shape[3] in (1, 3) and min(shape[1:3]) > 0:
        return False, shape[3], shape[1], shape[2]
    raise InvalidInput(
        f"input {spec.name!r} has the shape {list(shape)}; an image needs [-1,C,H,W] or [-1,H,W,C] with 1 or 3 channels"
    )


def _only(described: Described) -> TensorSpec:
    if len(described) != 1:
        names = ", ".join(spec.name for spec in described)
        raise InvalidInput(f"the model has several inputs ({names}); use a .npz, or JSON that names them")
    return described[0]
