"""The front door of a model replica: calls of the cluster's gateways, in frames (`serve/frames.py`)."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec

from model_store.errors import ModelNotReady, OutOfMemory
from serve.addresses import listening_socket
from serve.errors import kind_of, presentable
from serve.frames import TIMES_LAYOUT, FrameConnection, Kind, Refusal
from serve.metrics.requests import RequestCounter
from serve.request_record import ANSWERED, CANCELLED, RequestRecord

LONGEST_SECRET_BYTES = 1024

HELLO_S = 5.0
"""How long a stranger may take to become a gateway."""

FLUSH_S = 1.0
"""At least as long, answers have to leave when the replica stops."""

Method = Callable[[bytes, float, RequestRecord], Awaitable[bytes]]
"""Message, deadline on the event loop's clock, and what is to be noted on the way, to the reply's message; raises
errors, which the caller is told."""


class Service(Protocol):
    """What is called here: methods."""

    async def infer(self, data: bytes, deadline: float, record: RequestRecord) -> bytes:
        """A batch; `record` is told when it runs."""

    async def ready(self, data: bytes, deadline: float, record: RequestRecord) -> bytes:
        """Whether a version is loaded."""


class ReplicaFrontDoor:
    """A server from `start` to `stop`. Who does not know `secret` gets no answer; an empty one nobody knows."""

    def __init__(self, service: Service, secret: str) -> None:
        self.methods: Mapping[int, Method] = {
            Kind.INFER: service.infer,
            Kind.TRACED_INFER: service.infer,
            Kind.READY: service.ready,
        }
        self.secret = secret.encode()
        self.stopping = False
        self.calls: set[asyncio.Task[None]] = set()
        self.connections: set[_GatewayConnection] = set()
        self.deserted = asyncio.Event()
        """Set when the last connection has ended."""
        self._servers: list[asyncio.Server] = []
        self._counter = RequestCounter()

    def count(self, record: RequestRecord, outcome: str) -> None:
        """A call has ended; one for a batch is counted with its version."""
        if record.statistics is not None:
            self._counter.end(record, outcome)

    async def start(self, addresses: Sequence[str]) -> list[int]:
        """Listens on `addresses`; returns their ports (0 for local sockets). Raises `OSError` when one is taken."""
        loop = asyncio.get_running_loop()
        ports = []
        for address in addresses:
            listening = listening_socket(address)
            name = listening.getsockname()
            ports.append(name[1] if isinstance(name, tuple) else 0)
            create = loop.create_server if isinstance(name, tuple) else loop.create_unix_server
            self._servers.append(await create(lambda: _GatewayConnection(self), sock=listening))
        return ports

    async def stop(self, grace_s: float) -> None:
        """Refuses new calls, which gateways then send elsewhere, and gives those under way `grace_s` seconds to end.
        Returns when no call is under way and what was answered has left, or nobody took it."""
        self.stopping = True
        for server in self._servers:
            server.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        if self.calls and grace_s > 0:
            await asyncio.wait(self.calls, timeout=grace_s)
        if self.calls:
            for call in self.calls:
                call.cancel()
            await asyncio.wait(self.calls)
        for connection in self.connections:
            connection.close()
        if self.connections and grace_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.deserted.wait(), max(end - loop.time(), FLUSH_S))
        for connection in list(self.connections):
            connection.abort("the replica has stopped")


class _GatewayConnection(FrameConnection):
    """The calls of one gateway."""

    def __init__(self, door: ReplicaFrontDoor) -> None:
        super().__init__()
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, asyncio.Task[None]] = {}
        # Until the secret has come, and no limit then.
        self.longest_bytes: int | None = LONGEST_SECRET_BYTES
        self._hello = self._loop.call_later(HELLO_S, self.abort, "its other end did not say who it is")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A gateway, or a stranger."""
        super().connection_made(transport)
        self._door.connections.add(self)
        self._door.deserted.clear()

    def received(self, kind: int, number: int, seconds: float, content: bytes) -> None:
        """A call, or its end."""
        if self.longest_bytes is not None:
            self._greet(kind, content)
        elif kind == Kind.PING:
            self.send(Kind.PING)
        elif kind == Kind.CANCEL:
            if number in self._calls:
                self._calls[number].cancel()
        elif kind not in self._door.methods or number in self._calls:
            self.abort(f"expected a call, got a frame of kind {kind} and number {number}")
        elif self._door.stopping:
            self._refuse(number, ModelNotReady("the replica is stopping"))
        else:
            call = self._call(kind, number, content, self._loop.time() + seconds)
            task = self._calls[number] = self._loop.create_task(call)
            self._door.calls.add(task)
            # Not the task's own to do: one that is cancelled before its turn never begins.
            task.add_done_callback(lambda _: self._done(number))

    def not_received(self, kind: int, number: int, error: OutOfMemory) -> None:
        """A call with too large a message."""
        self._refuse(number, error)

    def ended(self) -> None:
        """Nobody waits for the answers any more."""
        self._hello.cancel()
        self._door.connections.discard(self)
        if not self._door.connections:
            self._door.deserted.set()
        for task in self._calls.values():
            task.cancel()

    def close(self) -> None:
        """Ends the connection when what was answered is sent."""
        if self.transport is not None:
            self.transport.close()

    def _greet(self, kind: int, content: bytes) -> None:
        secret = self._door.secret
        if kind == Kind.HELLO and secret and hmac.compare_digest(content, secret):
            self.longest_bytes = None
            self._hello.cancel()
        else:
            self.abort("its other end is no gateway of the cluster")

    async def _call(self, kind: int, number: int, content: bytes, deadline: float) -> None:
        record = RequestRecord("", time.perf_counter_ns())
        try:
            answer = await self._door.methods[kind](content, deadline, record)
        except asyncio.CancelledError:
            self._door.count(record, CANCELLED)
            raise
        except Exception as error:
            self._door.count(record, kind_of(error))
            self._refuse(number, error)
        else:
            self._door.count(record, ANSWERED)
            if kind == Kind.TRACED_INFER and record.batches:
                self.send(Kind.TIMES, number, _times(record))
            self.send(Kind.ANSWER, number, answer)

    def _done(self, number: int) -> None:
        self._door.calls.discard(self._calls.pop(number))

    def _refuse(self, number: int, error: Exception) -> None:
        told = presentable(error)
        text = told.message.encode(errors="replace").decode()
        refusal = Refusal(type(told).__name__, text, told.details.get("retry_after_s"))
        self.send(Kind.REFUSAL, number, msgspec.msgpack.encode(refusal))


def _times(record: RequestRecord) -> bytes:
    """What the gateway is told of a call: when its last batch ran, and how long all took until now."""
    batch, received_ns = record.batches[-1], record.received_ns
    # On the event loop the runtime has a batch from beginning to end.
    began_ns, ended_ns = batch.run_began_ns or batch.began_ns, batch.run_ended_ns or batch.ended_ns
    return TIMES_LAYOUT.pack(began_ns - received_ns, ended_ns - received_ns, time.perf_counter_ns() - received_ns)
