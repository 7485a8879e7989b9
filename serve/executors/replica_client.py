"""A gateway's connection to one model replica: Open Inference messages in frames, opened with the cluster's secret."""

from __future__ import annotations

import asyncio

import msgspec
from google.protobuf.message import DecodeError

from model_store.errors import ERROR_KINDS, DeadlineExceeded, InternalError, ModelNotReady, OnegateError
from serve.addresses import connect
from serve.frames import FrameConnection, Kind, Refusal
from serve.protocols import open_inference as messages
from serve.routing import Replica, VersionKey


class ReplicaGone(Exception):
    """The replica does not answer calls, or does not any more: another one may."""


class ReplicaClient:
    """Calls to one replica, while `ready` says that it answers."""

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
        if self._calls is None:
            raise ReplicaGone("there is no connection to it")
        return await self._calls.call(Kind.INFER, message, timeout_s)

    async def ready(self, key: VersionKey, timeout_s: float) -> bool:
        """Whether the replica answers and has the version loaded; connects to it where that is needed."""
        question = messages.ModelReadyRequest(name=key[0], version=str(key[1])).SerializeToString()
        try:
            async with asyncio.timeout(timeout_s):
                calls = await self._connected()
                data = await calls.call(Kind.READY, question, timeout_s)
            return bool(messages.ModelReadyResponse.FromString(data).ready)
        except (OSError, OnegateError, ReplicaGone, DecodeError):
            return False

    async def close(self) -> None:
        """Ends the connection; calls under way are cut."""
        if self._calls is not None:
            self._calls.close()

    async def close_when_idle(self) -> None:
        """Ends the connection when the calls under way have ended."""
        await self._idle.wait()
        await self.close()

    async def _connected(self) -> _Calls:
        # Asked again while it still connects, a second connection would be left over.
        async with self._connecting:
            if self._calls is None or self._calls.transport is None:
                self._calls = await connect(self.replica.local if self.same_node else self.replica.remote, _Calls)
                self._calls.send(Kind.HELLO, content=self._secret.encode())
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
            if self._answers.pop(number, None) is not None:
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

    def ended(self) -> None:
        """Whatever had no answer will get none."""
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            if not answer.done():
                answer.set_exception(ReplicaGone("the connection to it has ended"))

    def close(self) -> None:
        """Ends the connection."""
        if self.transport is not None:
            self.transport.close()


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
