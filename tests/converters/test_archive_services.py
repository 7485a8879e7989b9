"""Copies of MMS's vision service: the standard one is recognised by reading it, a changed one never."""

from pathlib import Path

import pytest

from converters.archive.vision_service import standard_top
from tests.sources.archives_writing import VISION_SERVICE


def top_of(tmp_path: Path, code: str | bytes) -> int | None:
    file = tmp_path / "mxnet_vision_service.py"
    file.write_bytes(code if isinstance(code, bytes) else code.encode())
    return standard_top(file)


def changed(old: str, new: str) -> str:
    assert old in VISION_SERVICE
    return VISION_SERVICE.replace(old, new)


OLDER = """
from mms.model_service.mxnet_model_service import MXNetBaseService
from mms.utils.mxnet import image, ndarray


class MXNetVisionService(MXNetBaseService):
    def _preprocess(self, data):
        rows = []
        for idx, img in enumerate(data):
            input_shape = self.signature['inputs'][idx]['data_shape']
            [h, w] = input_shape[2:]
            rows.append(image.transform_shape(image.resize(image.read(img), w, h)))
        return rows

    def _postprocess(self, data):
        assert hasattr(self, 'labels'), "no labels"
        return [ndarray.top_probability(d, self.labels, top=5) for d in data]
"""


@pytest.mark.parametrize(
    ("code", "top"), [(VISION_SERVICE, 5), (OLDER, 5), (changed("top=5", "top=3"), 3), (changed(", top=5", ""), 5)]
)
def test_the_standard_service_is_recognised(tmp_path: Path, code: str, top: int) -> None:
    assert top_of(tmp_path, code) == top


READ = "decoded = image.read(picture)"
CHANGED = {
    "divides": changed("image.transform_shape(decoded)", "image.transform_shape(decoded) / 255"),
    "divides in place": changed("images.append", "decoded /= 255\n            images.append"),
    "normalises": changed("images.append", "decoded = image.color_normalize(decoded, 0, 1)\n            images.append"),
    "reads in other colours": changed(READ, "decoded = image.read(picture, to_rgb=False)"),
    "reads with an argument": changed(READ, "decoded = image.read(picture, 0)"),
    "turns channels round": changed("image.transform_shape(decoded)", "image.transform_shape(decoded[::-1])"),
    "does not resize": changed("decoded = image.resize(decoded, w, h)", "pass"),
    "resizes to a size of its own": changed("image.resize(decoded, w, h)", "image.resize(decoded, 299, 299)"),
    "answers with numbers": changed("ndarray.top_probability(row, self.labels, top=5)", "row.asnumpy().tolist()"),
    "counts classes by position": changed("self.labels, top=5", "self.labels, 3"),
    "has a method more": changed(
        "    def postprocess", "    def inference(self, x):\n        return x\n\n    def postprocess"
    ),
    "has a class more": VISION_SERVICE + "\nclass Other:\n    pass\n",
    "has a base of its own": changed("(MXNetModelService)", "(MyService)"),
    "runs code at its top": VISION_SERVICE + "\nprint('hello')\n",
    "has a constant": VISION_SERVICE + "\nSIZE = 3\n",
    "imports another library": "import numpy\n" + VISION_SERVICE,
    "imports its own": "from mine import image\n" + VISION_SERVICE,
    "is decorated": changed("class MXNetVisionService", "@handle\nclass MXNetVisionService"),
    "is Python 2": VISION_SERVICE + "\nprint 'hello'\n",
    "is empty": "",
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_changed_service_is_not_the_standard_one(tmp_path: Path, change: str) -> None:
    assert top_of(tmp_path, CHANGED[change]) is None


@pytest.mark.parametrize("data", [b"\0", b"\xff\xfe", b"(" * 100_000, VISION_SERVICE.encode() + b"#" * (1 << 20)])
def test_what_is_no_python_is_not_the_standard_one(tmp_path: Path, data: bytes) -> None:
    assert top_of(tmp_path, data) is None
