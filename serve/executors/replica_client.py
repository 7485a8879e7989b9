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
from serve.frames import FrameConnection, Kind, Refusal
from serve.protocols import open_inference as messages
from serve.routing import Replica, VersionKey

MOST_UNSENT_BYTES = 16 * 1024 * 1024
"""With more that was not sent yet when a call is given up, the replica does not read: the connection is given up too,
before the messages of calls that nobody waits for pile up."""


class ReplicaGone(Exception):
    """The replica does not answer calls, or does not any more: another one may."""


class ReplicaClient:
    """Calls to one replica, over one connection that is made when it is needed."""

    def __init__(self, replica: Replica, node: str, secret: str) -> None:
        self.replica = replica
        self.same_node = replica.node == node
        self.in_flight = 0
        self.failed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._secret = secret
        self._calls: _Calls | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    def begin(self) -> None:
        """A call is about to be made: from now on it counts in `in_flight`, until `end`."""
        self.in_flight += 1
        self._idle.clear()

    def end(self) -> None:
        """The call is over, or was never made."""
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()

    async def infer(self, message: bytes, timeout_s: float) -> bytes:
        """One batch: a `ModelInferRequest` to the `ModelInferResponse`.

        Raises the error that the replica answered with, `DeadlineExceeded` when it did not in time, and `ReplicaGone`.
        """
        calls = self._calls
        if calls is None or calls.transport is None:
            calls = await self._connected(timeout_s)
        return await calls.call(Kind.INFER, message, timeout_s)

    async def ready(self, key: VersionKey, timeout_s: float) -> bool:
        """Whether the replica answers and has the version loaded."""
        question = messages.ModelReadyRequest(name=key[0], version=str(key[1])).SerializeToString()
        try:
            calls = await self._connected(timeout_s)
            data = await calls.call(Kind.READY, question, timeout_s)
            return bool(messages.ModelReadyResponse.FromString(data).ready)
        except (OnegateError, ReplicaGone, DecodeError):
            return False

    def close(self) -> None:
        """Ends the connection for good; calls under way are cut."""
        self._closed = True
        if self._calls is not None:
            self._calls.abort("it is not needed any more")

    async def close_when_idle(self) -> None:
        """Ends the connection when the calls under way have ended."""
        await self._idle.wait()
        self.close()

    async def _connected(self, timeout_s: float) -> _Calls:
        """The connection, made where there is none; raises `ReplicaGone` when it can't be."""
        try:
            # Asked again while it still connects, a second connection would be left over.
            async with asyncio.timeout(timeout_s), self._connecting:
                if self._calls is None or self._calls.transport is None:
                    self._calls = await connect(self.replica.local if self.same_node else self.replica.remote, _Calls)
                    self._calls.send(Kind.HELLO, content=self._secret.encode())
        except OSError as error:
            raise ReplicaGone(f"it can't be reached: {str(error) or 'it took too long'}") from error
        if self._closed:
            self._calls.abort("it is not needed any more")
            raise ReplicaGone("it is not needed any more")
        return self._calls


class _Calls(FrameConnection):
    """The calls under way on one connection, by number."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._last = 0

    async def call(self, kind: Kind, content: bytes, timeout_s: float) -> bytes:
        """The answer's content; raises as `ReplicaClient.infer`. Given up, the replica is told."""
        if self.transport is None:
            raise ReplicaGone("the connection to it has ended")
        self._last = number = self._last + 1
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._answers[number] = answer
        timer = self._loop.call_later(timeout_s, _too_late, answer)
        self.send(kind, number, content, timeout_s)
        try:
            return await answer
        finally:
            timer.cancel()
            # An error in it would hold this frame, which holds the message.
            del answer
            if self._answers.pop(number, None) is not None:
                self._give_up(number)

    def _give_up(self, number: int) -> None:
        if self.transport is not None and self.transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            self.abort("the replica does not read")
        self.send(Kind.CANCEL, number)

    def received(self, kind: int, number: int, seconds: float, content: bytes) -> None:
        """The answer to a call; of one that was given up nobody wants to know."""
        answer = self._answers.pop(number, None)
        if answer is None or answer.done():
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
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            if not answer.done():
                answer.set_exception(ReplicaGone("the connection to it has ended"))


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
        return ReplicaGone(error.message)
    if refusal.retry_after_s is not None:
        error.details["retry_after_s"] = refusal.retry_after_s
    return error
