"""Loops of one process that use grpc.aio, in threads of their own, with calls that come from without."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from serve.dialects.open_inference_service import core_service
from serve.front_doors.grpc import GrpcFrontDoor
from serve.front_doors.grpc_events import GrpcEvents
from serve.protocols import open_inference as messages
from tests.serve.tiny_versions import dispatcher_of, entry


class Counting(asyncio.SelectorEventLoop):
    """Counts how often something made it look."""

    woken = 0

    def _process_events(self, event_list: list[Any]) -> None:
        self.woken += bool(event_list)
        super()._process_events(event_list)  # type: ignore[misc]


class Other:
    """A loop in another thread with a gRPC server that nobody here starts to call."""

    def __init__(self) -> None:
        self.loop = Counting()
        self.port = 0

    @contextmanager
    def running(self) -> Iterator[Other]:
        thread = threading.Thread(target=self.loop.run_forever)
        thread.start()
        door = self._run(self._open())
        yield self
        self._run(door.stop(0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        thread.join()
        self.loop.close()

    async def _open(self) -> GrpcFrontDoor:
        door = GrpcFrontDoor([core_service()], dispatcher_of(entry()).answer)
        (self.port,) = await door.start(["127.0.0.1:0"])
        return door

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    door = GrpcFrontDoor([core_service()], dispatcher_of(entry()).answer)
    (port,) = await door.start(["127.0.0.1:0"])
    yield port
    await door.stop(0)


async def call(port: int, times: int = 1) -> None:
    """Calls of a client that uses no loop."""

    def ask() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            live = channel.unary_unary(
                f"/{messages.SERVICE}/ServerLive", response_deserializer=messages.ServerLiveResponse.FromString
            )
            for _ in range(times):
                assert live(messages.ServerLiveRequest().SerializeToString(), timeout=10).live is True

    await asyncio.to_thread(ask)


async def wakings(other: Other, port: int) -> int:
    """How often a hundred calls of the server at `port` wake another's loop."""
    # Whatever was asked of that loop before has come about when a call is answered.
    await call(port)
    before = other.loop.woken
    await call(port, 100)
    return other.loop.woken - before


async def test_calls_of_one_loop_wake_no_other(port: int) -> None:
    with Other().running() as other:
        assert await wakings(other, port) > 50
        events = GrpcEvents()
        events.keep()
        events.keep()
        assert await wakings(other, port) == 0
        events.give_back()


async def test_a_loop_that_is_not_woken_is_told_what_is_for_it(port: int) -> None:
    with Other().running() as other:
        events = GrpcEvents()
        events.keep()
        await call(other.port, 3)
        events.give_back()


async def test_a_loop_that_comes_later_is_found(port: int) -> None:
    events = GrpcEvents()
    events.keep()
    with Other().running() as other:
        assert await wakings(other, port) > 50
        events.keep()
        assert await wakings(other, port) == 0
        events.give_back()


async def test_events_are_given_back(port: int) -> None:
    with Other().running() as other:
        events = GrpcEvents()
        events.keep()
        await call(port)
        events.give_back()
        assert await wakings(other, port) > 50


async def test_a_grpcio_that_has_no_such_queue_is_left_as_it_is(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.front_doors.grpc_events._QUEUE", "AnotherQueue")
    events = GrpcEvents()
    events.keep()
    events.give_back()
    await call(port)
