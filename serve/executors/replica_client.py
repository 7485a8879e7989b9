"""A gateway's connection to one model replica: Open Inference messages in frames, opened with the cluster's secret."""

from __future__ import annotations

import asyncio

import msgspec
from google.protobuf.message import DecodeError

from model_store.errors import (
    ERROR_KINDS,
    DeadlineExceeded,
    InternalError,
    ModelNotReady,
    OnegateError,
    OutOfMemory,
)
from serve.addresses import connect
from serve.executors.remote_client import RemoteClient, ServerGone
from serve.frames import TIMES_LAYOUT, FrameConnection, Kind, Refusal
from serve.protocols import open_inference as messages
from serve.request_record import HOP, HopRecord
from serve.routing import Replica, VersionKey

CONNECT_S = 2.0
"""A replica that is there answers at once; another node that has gone says nothing."""

PING_S = 1.0
"""Between two looks at a connection with calls under way. Each sends a frame of 25 bytes."""

SILENT_PINGS = 5
"""So many looks without a byte from the replica, nor one that it took, and it is given up. Looks are counted and not
seconds: a gateway that was stopped itself finds nothing wrong."""

MOST_UNSENT_BYTES = 16 * 1024 * 1024
"""With more that was not sent yet when a call is given up, the replica does not read: the connection is given up too,
before the messages of calls that nobody waits for pile up."""


class ReplicaClient(RemoteClient):
    """Calls to one replica, over one connection that is made when it is needed."""

    def __init__(self, replica: Replica, node: str, secret: str) -> None:
        super().__init__(replica.id, same_node=replica.node == node)
        self.replica = replica
        self._secret = secret
        self._calls: _Calls | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def infer(self, message: bytes, timeout_s: float) -> bytes:
        """One batch: a `ModelInferRequest` to the `ModelInferResponse`.

        Raises the error that the replica answered with, `DeadlineExceeded` when it did not in time, and `ServerGone`.
        """
        calls = self._calls
        if calls is None or calls.transport is None:
            calls = await self._connected(timeout_s)
        hop = HOP.get()
        if hop is not None:
            return await calls.call(Kind.TRACED_INFER, message, timeout_s, hop)
        return await calls.call(Kind.INFER, message, timeout_s)

    async def ready(self, key: VersionKey, timeout_s: float) -> bool:
        """Whether the replica answers and has the version loaded."""
        question = messages.ModelReadyRequest(name=key[0], version=str(key[1])).SerializeToString()
        try:
            calls = await self._connected(timeout_s)
            data = await calls.call(Kind.READY, question, timeout_s)
            return bool(messages.ModelReadyResponse.FromString(data).ready)
        except (OnegateError, ServerGone, DecodeError):
            return False

    def close(self) -> None:
        """Ends the connection for good; calls under way are cut."""
        self._closed = True
        if self._calls is not None:
            self._calls.abort("it is not needed any more")

    async def _connected(self, timeout_s: float) -> _Calls:
        """The connection, made where there is none; raises `ServerGone` when it can't be."""
        try:
            # Asked again while it still connects, a second connection would be left over.
            async with asyncio.timeout(min(timeout_s, CONNECT_S)), self._connecting:
                if self._calls is None or self._calls.transport is None:
                    self._calls = await connect(self.replica.local if self.same_node else self.replica.remote, _Calls)
                    self._calls.send(Kind.HELLO, content=self._secret.encode())
        except OSError as error:
            raise ServerGone(f"it can't be reached: {str(error) or 'it took too long'}") from error
        if self._closed:
            self._calls.abort("it is not needed any more")
            raise ServerGone("it is not needed any more")
        return self._calls


class _Calls(FrameConnection):
    """The calls under way on one connection, by number."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._hops: dict[int, HopRecord] = {}
        """Those that are to be told when their batches ran."""
        self._last = 0
        self._watching: asyncio.TimerHandle | None = None
        self._silent = 0
        self._unsent_bytes = 0

    async def call(self, kind: Kind, content: bytes, timeout_s: float, hop: HopRecord | None = None) -> bytes:
        """The answer's content; raises as `ReplicaClient.infer`. Given up, the replica is told. `hop` is for calls
        whose answer comes with times."""
        if self.transport is None:
            raise ServerGone("the connection to it has ended")
        self._last = number = self._last + 1
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._answers[number] = answer
        if hop is not None:
            self._hops[number] = hop
        if self._watching is None:
            self._watch()
        timer = self._loop.call_later(timeout_s, _too_late, answer)
        self.send(kind, number, content, timeout_s)
        try:
            return await answer
        finally:
            timer.cancel()
            if hop is not None:
                self._hops.pop(number, None)
            # An error in it would hold this frame, which holds the message.
            del answer
            if self._answers.pop(number, None) is not None:
                self._give_up(number)

    def _watch(self) -> None:
        self._silent, self.heard = 0, False
        self._watching = self._loop.call_later(PING_S, self._look)

    def _look(self) -> None:
        """Asks for a sign of life while there are calls."""
        self._watching = None
        if not self._answers or self.transport is None:
            return
        unsent_bytes = self.transport.get_write_buffer_size()
        alive = self.heard or unsent_bytes < self._unsent_bytes
        self._silent = 0 if alive else self._silent + 1
        self._unsent_bytes, self.heard = unsent_bytes, False
        if self._silent >= SILENT_PINGS:
            self.abort("the replica gives no sign of life")
            return
        self.send(Kind.PING)
        self._watching = self._loop.call_later(PING_S, self._look)

    def _give_up(self, number: int) -> None:
        if self.transport is not None and self.transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            self.abort("the replica does not read")
        self.send(Kind.CANCEL, number)

    def received(self, kind: int, number: int, seconds: float, content: bytes) -> None:
        """The answer to a call; of one that was given up nobody wants to know."""
        if kind == Kind.TIMES:
            if number in self._hops and len(content) == TIMES_LAYOUT.size:
                self._hops[number].away = TIMES_LAYOUT.unpack(content)
            return
        answer = self._answers.pop(number, None)
        if answer is None or answer.done():
            # Of one that was given up, or the sign of life that was asked for.
            return
        if kind == Kind.ANSWER:
            answer.set_result(content)
        else:
            answer.set_exception(_error(kind, content))

    def not_received(self, kind: int, number: int, error: OutOfMemory) -> None:
        """Too large an answer."""
        answer = self._answers.pop(number, None)
        if answer is not None and not answer.done():
            answer.set_exception(error)

    def ended(self) -> None:
        """Whatever had no answer will get none."""
        if self._watching is not None:
            self._watching.cancel()
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            if not answer.done():
                answer.set_exception(ServerGone("the connection to it has ended", begun=True))


def _too_late(answer: asyncio.Future[bytes]) -> None:
    if not answer.done():
        answer.set_exception(DeadlineExceeded("the replica did not answer before the deadline"))


def _error(kind: int, content: bytes) -> Exception:
    try:
        refusal = msgspec.msgpack.decode(content, type=Refusal)
    except msgspec.DecodeError:
        return InternalError(f"the replica answered with a frame of kind {kind}")
    error = ERROR_KINDS.get(refusal.kind, InternalError)(refusal.text)
    if isinstance(error, ModelNotReady):
        return ServerGone(error.message)
    if refusal.retry_after_s is not None:
        error.details["retry_after_s"] = refusal.retry_after_s
    return error
