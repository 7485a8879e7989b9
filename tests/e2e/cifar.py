"""A net that was trained on CIFAR-10 in MXNet, pictures for it, and what MXNet 1.9.1 made of these."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tests.converters.mxnet.recorded import ARCHIVE
from tests.sources.archives_writing import Files, as_bytes

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIGNATURE = {
    "inputs": [{"data_name": "data", "data_shape": [0, 3, 32, 32]}],
    "outputs": [{"data_name": "prob", "data_shape": [0, 10]}],
    "input_type": "image/jpeg",
    "output_type": "application/json",
}
INPUTS = [{"name": "data", "datatype": "FP32", "shape": [-1, 3, 32, 32]}]

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "white": (255, 255, 255),
    "yellow": (200, 200, 20),
}
Best = list[tuple[str, float]]
AS_THEY_ARE: dict[str, Best] = {
    "red": [("cat", 73.324), ("bird", 56.940), ("airplane", 38.057), ("ship", 18.395), ("automobile", 15.327)],
    "green": [("cat", 81.685), ("bird", 51.407), ("ship", 22.385), ("automobile", 15.494), ("airplane", 9.660)],
    "blue": [("bird", 48.877), ("cat", 45.479), ("ship", 38.714), ("airplane", 33.141), ("automobile", 22.179)],
    "white": [("cat", 54.849), ("bird", 40.886), ("airplane", 17.656), ("ship", 14.164), ("automobile", 2.635)],
    "yellow": [("cat", 41.892), ("bird", 34.470), ("airplane", 26.164), ("ship", 16.555), ("automobile", 12.841)],
}
"""Picture -> the five best classes and their scores, for pixels of 0 to 255: what the standard service of MXNet Model
Server gives to a net, whatever it was trained on."""
NORMALISED: dict[str, Best] = {
    "red": [("airplane", 4.457), ("bird", 2.072), ("cat", 1.807), ("automobile", 1.506), ("truck", 0.898)],
    "green": [("bird", 3.185), ("cat", 3.059), ("airplane", 2.581), ("frog", 1.641), ("dog", 0.086)],
    "white": [("cat", 4.782), ("frog", 3.362), ("airplane", 2.194), ("bird", 1.953), ("dog", 0.812)],
}
"""The same for pixels as the net was trained: by CIFAR-10's own mean and deviation."""


@cache
def jpeg(colour: str) -> bytes:
    """A picture of 64 x 48 pixels with a block of another colour. Its edges lie between the blocks of JPEG, so that
    every decoder gives the same pixels."""
    red, green, blue = COLOURS[colour]
    image = Image.new("RGB", (64, 48), (red, green, blue))
    image.paste((255 - red, green, 255 - blue), (16, 0, 48, 32))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def pixels(colour: str) -> np.ndarray:
    """FP32[1,3,32,32]: the picture as Model Server's standard service gives it to the net."""
    with Image.open(io.BytesIO(jpeg(colour))) as image:
        small = image.resize((32, 32), Image.Resampling.BILINEAR)
    return np.asarray(small, np.float32).transpose(2, 0, 1)[np.newaxis]


def net_files() -> Files:
    """The pair of files, as `cifar-symbol.json` and `cifar-0000.params`."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        ends = ("-symbol.json", "-0000.params")
        return {f"cifar{end}": archive.read(f"cifar_resnet20_v1{end}") for end in ends}


def archive_files() -> Files:
    """What an archive of the net holds beside its manifest."""
    return {**net_files(), "signature.json": SIGNATURE, "synset.txt": "\n".join(CLASSES) + "\n"}


def recorded() -> tuple[np.ndarray, np.ndarray]:
    """An input, FP32[1,3,32,32], and MXNet's logits for it, FP32[1,10]."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        file = io.BytesIO(archive.read("cifar_resnet20_v1.io.npz"))
    with np.load(file) as arrays:
        return arrays["x"], arrays["y"]


def write_net(folder: Path) -> Path:
    """Writes the pair of files; gives that of the parameters."""
    for name, content in net_files().items():
        (folder / name).write_bytes(as_bytes(content))
    return folder / "cifar-0000.params"
