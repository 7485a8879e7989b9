"""The standard health service on real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from serve.dialects.grpc_health import health_service
from serve.protocols import health as messages
from tests.serve.grpc_channels import call, channel_to, refusal, serialised
from tests.serve.tiny_versions import dispatcher_of, entry
from tests.serve.waiting import PATIENCE_S

CHECK = f"{messages.SERVICE}/Check"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
HEALTH = [health_service(["inference.GRPCInferenceService"])]


def watch(channel: Any, service: str = "") -> Any:
    method = f"/{messages.SERVICE}/Watch"
    stub = channel.unary_stream(method, serialised, messages.HealthCheckResponse.FromString)
    return stub(messages.HealthCheckRequest(service=service), timeout=10)


async def check(channel: Any, service: str = "") -> int:
    message = messages.HealthCheckRequest(service=service)
    return int((await call(channel, CHECK, message, messages.HealthCheckResponse)).status)


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService"])
async def test_a_server_that_can_be_called_serves(service: str) -> None:
    async with channel_to(HEALTH, dispatcher_of(entry()).answer) as (channel, *_):
        assert await check(channel, service) == SERVING


async def test_a_server_that_misses_a_model_does_not_serve() -> None:
    dispatcher = dispatcher_of(entry(), unavailable={"loading": "it is loading"})
    async with channel_to(HEALTH, dispatcher.answer) as (channel, *_):
        assert await check(channel) == NOT_SERVING


async def test_an_unknown_service_is_not_found() -> None:
    async with channel_to(HEALTH, dispatcher_of().answer) as (channel, *_):
        assert await refusal(channel, CHECK, messages.HealthCheckRequest(service="a.B")) == (
            "NOT_FOUND",
            "no service 'a.B' here; services: inference.GRPCInferenceService",
        )


async def test_watch_tells_changes_only_and_the_end() -> None:
    dispatcher = dispatcher_of(entry())
    loaded = dispatcher.loaded.pop(("double", 1))
    async with channel_to(HEALTH, dispatcher.answer) as (channel, _, door):
        watching = watch(channel)
        assert (await watching.read()).status == NOT_SERVING
        dispatcher.loaded["double", 1] = loaded
        assert (await watching.read()).status == SERVING
        dispatcher.draining = True
        async with asyncio.timeout(PATIENCE_S):
            await door.stop(5)
        assert (await watching.read()).status == NOT_SERVING
        assert await watching.read() == grpc.aio.EOF


async def test_watch_waits_for_a_service_that_is_unknown() -> None:
    async with channel_to(HEALTH, dispatcher_of(entry()).answer) as (channel, *_):
        watching = watch(channel, "a.B")
        assert (await watching.read()).status == SERVICE_UNKNOWN
        watching.cancel()
