"""What of gRPC calls is counted: unary ones, messages of streams, and calls that are refused before they are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from serve.dialects.open_inference_service import whole_service
from serve.metrics.requests import RequestCounter
from serve.protocols import open_inference as messages
from serve.statistics import VersionStatistics
from tests.serve.grpc_channels import call, channel_to, refusal, stream
from tests.serve.test_grpc_front_door import infer
from tests.serve.tiny_versions import GatedExecutor, dispatcher_of, entry
from tests.serve.waiting import eventually

INFER = f"{messages.SERVICE}/ModelInfer"
DIALECT = "open_inference_grpc"


@asynccontextmanager
async def counting(
    executor: Any = None, **options: Any
) -> AsyncIterator[tuple[Any, VersionStatistics, RequestCounter]]:
    """A channel to the model `double`, and what is counted of it."""
    dispatcher, counter = dispatcher_of(entry(), executor=executor), RequestCounter()
    async with channel_to([whole_service()], dispatcher.answer, recorder=counter, **options) as (channel, *_):
        yield channel, dispatcher.loaded["double", 1].statistics, counter


async def test_calls_are_counted_by_how_they_end() -> None:
    async with counting() as (channel, counted, counter):
        for _ in range(3):
            await call(channel, INFER, infer(), messages.ModelInferResponse)
        assert (await refusal(channel, INFER, infer(name="q")))[0] == "INVALID_ARGUMENT"
        assert (await refusal(channel, INFER, infer("made-up")))[0] == "NOT_FOUND"
        requests = counted.requests[DIALECT]
        assert (requests.took.count, requests.errors, counted.in_flight) == (4, {"InvalidInput": 1}, 0)
        assert counter.refusals == {("", DIALECT, "ModelNotFound"): 1}


async def test_each_message_of_a_stream_is_a_request() -> None:
    async with counting() as (channel, counted, counter):
        calls = stream(channel, f"{messages.SERVICE}/ModelStreamInfer", messages.ModelStreamInferResponse)
        for message in (infer(id="1"), infer("made-up", id="2"), infer(id="3")):
            await calls.write(message)
        await calls.done_writing()
        assert len([answer async for answer in calls]) == 3
        assert counted.requests[DIALECT].took.count == 2
        assert counter.refusals == {("", DIALECT, "ModelNotFound"): 1}


async def test_questions_are_no_requests() -> None:
    async with counting() as (channel, counted, counter):
        ready = messages.ModelReadyRequest(name="double")
        await call(channel, f"{messages.SERVICE}/ModelReady", ready, messages.ModelReadyResponse)
        metadata = messages.ModelMetadataRequest(name="made-up")
        assert (await refusal(channel, f"{messages.SERVICE}/ModelMetadata", metadata))[0] == "NOT_FOUND"
        assert (counted.requests, counter.refusals) == ({}, {})


async def test_a_call_that_is_cancelled_is_counted_as_such() -> None:
    executor = GatedExecutor()
    async with counting(executor) as (channel, counted, _):
        asking = asyncio.ensure_future(call(channel, INFER, infer(), messages.ModelInferResponse))
        await eventually(lambda: counted.in_flight == 1)
        asking.cancel()
        await eventually(lambda: counted.in_flight == 0)
        requests = counted.requests[DIALECT]
        assert (requests.took.count, requests.cancelled) == (0, 1)


async def test_a_call_too_many_and_a_message_too_large_are_refusals() -> None:
    executor = GatedExecutor()
    async with counting(executor, max_requests=1, max_message_bytes=1000) as (channel, counted, counter):
        first = asyncio.ensure_future(call(channel, INFER, infer(), messages.ModelInferResponse))
        await eventually(lambda: counted.in_flight == 1)
        assert (await refusal(channel, INFER, infer()))[0] == "RESOURCE_EXHAUSTED"
        assert (await refusal(channel, INFER, infer(id="x" * 2000)))[0] == "RESOURCE_EXHAUSTED"
        executor.gate.set()
        await first
        assert counter.refusals == {("", DIALECT, "Overloaded"): 1, ("", DIALECT, "PayloadTooLarge"): 1}
        assert counted.requests[DIALECT].took.count == 1


async def test_bytes_that_are_no_message_are_a_refusal() -> None:
    async with counting() as (channel, _, counter):
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary(f"/{INFER}")(b"\xff\xff\xff", timeout=10)
        assert counter.refusals == {("", DIALECT, "InvalidInput"): 1}
