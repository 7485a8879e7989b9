"""Pictures for tests: four coloured quarters, as files of each format, and versions that classify them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image

from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, ImageProcessor, Manifest, TensorSpec
from serve.inference import Payload
from tests.serve.tiny_versions import manifest

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(size: int = 2, *, mode: str = "RGB") -> Image.Image:
    """Red and green above, blue and white below."""
    pixels = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.NEAREST).convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def described(processor: ImageProcessor, *inputs: TensorSpec, labels: tuple[str, ...] | None = None) -> Manifest:
    """A version that takes [3, 2, 2] pictures unless `inputs` say otherwise, and answers with three scores."""
    version = manifest(
        inputs=inputs or (TensorSpec("data", "FP32", (-1, 3, 2, 2)),), outputs=(TensorSpec("prob", "FP32", (-1, 3)),)
    )
    signatures = {**version.signatures, PAYLOAD: PAYLOAD_SIGNATURE}
    return msgspec.structs.replace(version, signatures=signatures, processor=processor, labels=labels)


LABELS = ("red", "green", "blue")


def mean_colour(folder: Path) -> None:
    """Writes a model whose scores are the means of the channels."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["prob"]),
    ]
    picture = helper.make_tensor_value_info("data", TensorProto.FLOAT, [None, 3, 2, 2])
    scores = helper.make_tensor_value_info("prob", TensorProto.FLOAT, [None, 3])
    graph = helper.make_graph(nodes, "mean_colour", [picture], [scores])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, folder / "model.onnx")


def photograph(colour: tuple[int, int, int]) -> Payload:
    return Payload(encoded(Image.new("RGB", (9, 9), colour), "JPEG", quality=100), "image/jpeg")
