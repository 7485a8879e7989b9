"""Pretrained PyTorch nets that ship in packages: the voice activity detector of `silero-vad`."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np

from model_store.manifest import TensorSpec
from tests.sources.table import Built, Call, SourceCase

EXAMPLES = Path(__file__).with_name("silero_vad_examples.npz")
"""Four chunks of tones and noise at 16 kHz, and the rate: the net refuses any other pair of rate and chunk."""


def silero_file(name: str) -> Path:
    spec = importlib.util.find_spec("silero_vad")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / name


def silero_vad(folder: Path) -> Built:
    """The net keeps its recurrent state between calls; each recorded answer is that of a net just loaded."""
    import torch

    source = folder / "silero_vad.jit"
    shutil.copyfile(silero_file("silero_vad.jit"), source)
    chunks = np.load(EXAMPLES)["x"]
    calls = []
    for rows in (chunks[:1], chunks[1:4]):
        net = torch.jit.load(source).eval()
        with torch.no_grad():
            answer = net(torch.from_numpy(rows), 16000)
        calls.append(Call({"x": rows, "sr": np.array(16000)}, {"output": answer.numpy()}))
    return Built(source, tuple(calls))


PRETRAINED = [
    SourceCase(
        name="pytorch-silero-vad",
        framework="pytorch",
        kind="TorchScript, scripted",
        build=silero_vad,
        options={
            "inputs": (TensorSpec("x", "FP32", (-1, 512)), TensorSpec("sr", "INT64", ())),
            "examples": str(EXAMPLES),
        },
    ),
]
