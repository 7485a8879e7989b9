"""Requests leave nothing to the cycle collector, however they end: it comes so seldom that tensors would pile up."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from model_store.errors import DeadlineExceeded
from serve.dialects.open_inference_service import core_service
from serve.dialects.registry import http_dialects
from serve.dispatcher import Dispatcher
from serve.executors.base import ClosableExecutor
from serve.executors.inline import InlineExecutor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.inference import InferenceRequest, Tensors
from serve.protocols import open_inference as messages
from serve.routing import Batching
from tests.e2e.running import free_ports
from tests.serve.front_doors.http2_bytes import data, headers, request
from tests.serve.front_doors.http2_bytes import message as prefixed
from tests.serve.front_doors.http2_service import serving
from tests.serve.front_doors.http2_wire import greeted
from tests.serve.grpc_channels import channel_to
from tests.serve.left_over import left_to_the_collector
from tests.serve.tiny_versions import FunctionRuntime, GatedExecutor, dispatcher_of, entry
from tests.serve.waiting import eventually

TIMES = 3
ROWS = {"few": 1, "many": 20}
"""Of a request; many are more than a batch holds."""


class Refused(Exception):
    """What the model raises."""


def refuse(inputs: Tensors) -> Tensors:
    raise Refused


class Remote:
    """An executor that is awaited, as one with replicas is."""

    slots = 2
    idle = True
    join = staticmethod(np.concatenate)

    async def run(self, inputs: Tensors, deadline: float, signature: str | None = None) -> Tensors:
        await asyncio.sleep(0)
        return refuse(inputs)

    async def close(self) -> None:
        pass


EXECUTORS: dict[str, Callable[[], ClosableExecutor]] = {
    "on the loop": lambda: InlineExecutor(FunctionRuntime(refuse), on_loop=True),
    "in a thread": lambda: InlineExecutor(FunctionRuntime(refuse), on_loop=False),
    "on a replica": Remote,
}


def asked(rows: int, deadline: float | None = None) -> InferenceRequest:
    return InferenceRequest("double", inputs={"x": np.ones((rows, 2), np.float32)}, deadline=deadline)


def dispatcher(executor: ClosableExecutor | None = None) -> Dispatcher:
    return dispatcher_of(entry(batching=Batching(max_batch_size=8)), executor=executor)


async def left_by(work: Callable[[], Awaitable[None]]) -> Counter[str]:
    await work()  # what is made once and stays
    with left_to_the_collector() as left:
        for _ in range(TIMES):
            await work()
        await asyncio.sleep(0)
    return left


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
async def test_an_answered_request_leaves_nothing(rows: int) -> None:
    answering = dispatcher()

    async def work() -> None:
        await answering.infer(asked(rows))

    assert await left_by(work) == {}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=EXECUTORS.keys())
async def test_a_request_whose_batch_fails_leaves_nothing(executor: Callable[[], ClosableExecutor], rows: int) -> None:
    running = executor()
    failing = dispatcher(running)

    async def work() -> None:
        # Two, so that the batch is tried again for each.
        one, other = await asyncio.gather(failing.infer(asked(rows)), failing.infer(asked(1)), return_exceptions=True)
        assert isinstance(one, Refused)
        assert isinstance(other, Refused)

    assert await left_by(work) == {}
    await running.close()


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
async def test_a_request_that_is_too_late_leaves_nothing(rows: int) -> None:
    slow = dispatcher(GatedExecutor(slots=10 * TIMES))

    async def work() -> None:
        with pytest.raises(DeadlineExceeded):
            await slow.infer(asked(rows, asyncio.get_running_loop().time() + 0.01))

    assert await left_by(work) == {}


@pytest.fixture
async def slow() -> AsyncIterator[GatedExecutor]:
    executor = GatedExecutor(slots=100)
    yield executor
    executor.gate.set()


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
async def test_a_client_that_leaves_over_http_leaves_nothing(slow: GatedExecutor, rows: int) -> None:
    (port,) = free_ports(1)
    waiting = dispatcher(slow)
    listener = HttpListener(HttpFrontDoor(http_dialects("torchserve"), waiting.answer, 1 << 20), "127.0.0.1", port)
    listener.start()
    described = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "data": [1.0] * 2 * rows}
    body = json.dumps({"inputs": [described]}).encode()
    head = f"POST /v2/models/double/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n"

    async def work() -> None:
        started, cancelled = slow.started, waiting.loaded["double", 1].statistics.cancelled.count
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(head.encode() + body)
        await eventually(lambda: slow.started > started)
        client.close()
        await eventually(lambda: waiting.loaded["double", 1].statistics.cancelled.count > cancelled)
        slow.gate.set()
        await waiting.loaded["double", 1].lane(None).queue.drain()
        slow.gate.clear()

    assert await left_by(work) == {}
    await listener.stop()


async def test_a_client_that_cancels_over_grpc_leaves_nothing(slow: GatedExecutor) -> None:
    waiting = dispatcher(slow)
    described: Any = {"name": "x", "datatype": "FP32", "shape": [1, 2]}
    message = messages.ModelInferRequest(model_name="double", inputs=[described], raw_input_contents=[b"\0" * 8])
    async with channel_to([core_service()], waiting.answer) as (channel, *_):

        async def work() -> None:
            started, cancelled = slow.started, waiting.loaded["double", 1].statistics.cancelled.count
            call = channel.unary_unary(f"/{messages.SERVICE}/ModelInfer")(message.SerializeToString())
            await eventually(lambda: slow.started > started)
            call.cancel()
            await eventually(lambda: waiting.loaded["double", 1].statistics.cancelled.count > cancelled)
            slow.gate.set()
            await waiting.loaded["double", 1].lane(None).queue.drain()
            slow.gate.clear()

        assert await left_by(work) == {}


async def test_a_stream_with_a_message_that_cannot_be_unpacked_leaves_nothing() -> None:
    async with serving() as served, greeted(served.port) as wire:
        streams = iter(range(1, 1000, 2))

        async def work() -> None:
            stream = next(streams)
            wire.send(headers(stream, request("Each", grpc_encoding="gzip")))
            wire.send(data(stream, prefixed(b"a") + prefixed(b"bad", packed=1)))
            assert (await wire.answer(stream)).code == "INTERNAL"

        assert await left_by(work) == {}
