"""The examples of docs/client.md run as they stand there, but for the ports."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.manifest import TensorSpec
from serve.executors.inline import InlineExecutor
from serve.inference import Tensors
from tests.serve.client.conftest import Endpoint
from tests.serve.tiny_versions import FunctionRuntime, entry

PAGE = Path(__file__).parents[3] / "docs" / "client.md"
PIXELS = (TensorSpec("pixels", "FP32", (-1, 64)),)
IMAGE = (TensorSpec("image", "FP32", (-1, 1, 8, 8)),)
SCORES = TensorSpec("scores", "FP32", (-1, 10))
DIGIT = TensorSpec("digit", "INT64", (-1,))


def scores(inputs: Tensors) -> Tensors:
    return {"scores": inputs["pixels"][:, :10].copy()}


def digits(inputs: Tensors) -> Tensors:
    rows = inputs["image"].reshape(-1, 64)
    return {"digit": np.full(len(rows), 7), **scores({"pixels": rows})}


def examples(endpoint: Endpoint) -> list[str]:
    """The page's Python, told of the endpoint's ports."""
    found = re.findall(r"^```python [^\n]*\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    ports = {"http://127.0.0.1:8080": endpoint.http, "grpc://127.0.0.1:8081": endpoint.grpc}
    return [re.sub("|".join(ports), lambda match: ports[match[0]], example) for example in found]


async def test_the_examples_run(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint.add(
        entry("digits-mlp", inputs=PIXELS, outputs=(SCORES,)), InlineExecutor(FunctionRuntime(scores), on_loop=True)
    )
    endpoint.add(
        entry("digits", inputs=IMAGE, outputs=(DIGIT, SCORES)), InlineExecutor(FunctionRuntime(digits), on_loop=True)
    )
    first, second, _, retries = examples(endpoint)
    names: dict[str, Any] = {}

    def run(example: str) -> None:
        exec(compile(example, PAGE.name, "exec"), names)

    await asyncio.to_thread(run, first)
    assert capsys.readouterr().out == f"(2, 10) [7 7] 1\n{PIXELS} False\n"
    run(second)
    assert (await names["ask"](np.ones((3, 64), np.float32))).tolist() == [[1.0] * 10] * 3
    run(retries)
    for client in ("client", "patient", "eager"):
        names[client].close()
