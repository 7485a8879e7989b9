"""Nets as they ship in packages; the recorded answers are those of ONNX Runtime itself, which their users call."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import onnxruntime.datasets

from model_store.manifest import TensorSpec
from tests.sources.onnx_writing import case, floats
from tests.sources.table import Built, Call, Tensors

EXAMPLES = Path(__file__).with_name("silero_vad_onnx_examples.npz")
"""A chunk of a tone at 16 kHz with what came before it, an empty state, and the rate: the net refuses other rates."""


def packaged(package: str, *parts: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.joinpath(*parts)


def copied(folder: Path, original: str | Path, *inputs: Tensors) -> Built:
    source = folder / "model.onnx"
    shutil.copyfile(original, source)
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    calls = [Call(given, dict(zip(names, map(plain, session.run(None, given)), strict=True))) for given in inputs]
    return Built(source, tuple(calls))


def plain(output: object) -> np.ndarray:
    """An array; of a ZipMap's dictionaries one column for each key."""
    if isinstance(output, list):
        return np.array([list(row.values()) for row in output], np.float32)
    return np.asarray(output)


def iris(folder: Path) -> Built:
    """scikit-learn's logistic regression, with a ZipMap and a batch of three."""
    original = onnxruntime.datasets.get_example("logreg_iris.onnx")
    return copied(folder, original, {"float_input": floats((3, 2))[0]})


def voice(file: str) -> Callable[[Path], Built]:
    """Exported from PyTorch: the voice activity detector, whose state is given in and out and has its batch second."""

    def build(folder: Path) -> Built:
        with np.load(EXAMPLES) as archive:
            example = {name: archive[name] for name in archive.files}
        return copied(folder, packaged("silero_vad", "data", file), example)

    return build


def voice_sequence(folder: Path) -> Built:
    """The same detector for whole recordings: chunks are its rows, each seen after those before it."""
    chunks = floats((3, 576), (6, 576), seed=8)
    state = np.zeros((1, 1, 128), np.float32)
    original = packaged("silero_vad", "data", "silero_vad_16k_sequence.onnx")
    return copied(folder, original, *({"input": each * np.float32(0.1), "h": state, "c": state} for each in chunks))


ONE_CHUNK = {
    "inputs": (
        TensorSpec("input", "FP32", (1, 576)),
        TensorSpec("state", "FP32", (2, 1, 128)),
        TensorSpec("sr", "INT64", ()),
    ),
    "examples": str(EXAMPLES),
}
PRETRAINED = "Pretrained nets from packages"

CASES = [
    case("iris", PRETRAINED, iris),
    case("silero-vad", PRETRAINED, voice("silero_vad.onnx"), options=ONE_CHUNK),
    case("silero-vad-opset-15", PRETRAINED, voice("silero_vad_16k_op15.onnx"), options=ONE_CHUNK),
    case("silero-vad-without-if", PRETRAINED, voice("silero_vad_op18_ifless.onnx"), options=ONE_CHUNK),
    case("silero-vad-sequence", PRETRAINED, voice_sequence),
]
