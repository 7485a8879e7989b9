"""Copies of large calls lie where the calls were received: nothing is used again too early, and nothing is left."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import onnx
from onnx import TensorProto, helper

from serve.shared_memory import IDLE_S
from tests.e2e.models import binary_body, write_multiplier
from tests.e2e.running import Running, running
from tests.e2e.test_shared_memory_leaks import regions_of

WIDTH = 131_072
"""float32 values of a row: 512 KiB, which travel in shared memory."""
REQUESTS = 400
WAIT_S = 30.0


def _write_sum(path: Path) -> None:
    """`y = x + x`, FP32[-1, WIDTH]."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "doubler",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", WIDTH])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


async def _wrong_answers(url: str) -> list[str]:
    """What was wrong with the answers to rows of numbers that all differ, eight at a time."""
    places = asyncio.Semaphore(8)
    wrong: list[str] = []
    async with aiohttp.ClientSession() as session:

        async def ask(number: int) -> None:
            body, headers = binary_body(np.full((1, WIDTH), number, np.float32))
            async with places, session.post(url, data=io.BytesIO(body), headers=headers) as reply:
                content = await reply.read()
            y = np.frombuffer(content[int(reply.headers["inference-header-content-length"]) :], np.float32)
            if reply.status != 200 or not (y == 2 * number).all():
                wrong.append(f"{number}: {reply.status}, {y[:1]}")

        await asyncio.gather(*map(ask, range(REQUESTS)))
    return wrong


def _comparison(gateway: Running) -> dict[str, Any]:
    [comparison] = json.loads(gateway.command("compare", "double", "--json").stdout)["comparisons"]
    return comparison


def test_large_calls_and_their_copies_never_see_each_other_s_numbers(tmp_path: Path) -> None:
    # Equal numbers from different files.
    write_multiplier(tmp_path / "product.onnx", 2, WIDTH)
    _write_sum(tmp_path / "sum.onnx")
    model = {
        "name": "double",
        "serve": {"executor": "replicas", "batching": {"max_batch_size": 4}},
        "versions": [{"source": "product.onnx"}, {"source": "sum.onnx", "shadow": True}],
    }
    with running(tmp_path, {"store": "store", "models": [model]}) as gateway:
        gateway.wait_until_settled()
        assert asyncio.run(_wrong_answers(f"{gateway.url}/v2/models/double/infer")) == []
        end = time.monotonic() + WAIT_S
        while (told := _comparison(gateway))["compared"] + told["dropped"] < REQUESTS and time.monotonic() < end:
            time.sleep(0.2)
        assert told["compared"] + told["dropped"] == REQUESTS
        assert told["compared"] > REQUESTS / 10
        assert (told["agreeing"], told["failures"]) == (told["compared"], {})
        assert told["outputs"][0]["relative_error"]["max"] == 0.0
        [process] = gateway.serve_processes("onegate", "Gateway")
        end = time.monotonic() + IDLE_S + WAIT_S
        while (held := regions_of(process)) and time.monotonic() < end:
            time.sleep(0.5)
        assert held == {}
