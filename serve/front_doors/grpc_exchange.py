"""One gRPC call on an HTTP/2 stream: its work, messages and a status out, and how it ends before its time.

How its messages come in is `grpc_messages.py`'s. Codes of what a client does wrong:
https://github.com/grpc/grpc/blob/master/doc/statuscodes.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from model_store.errors import OnegateError, PayloadTooLarge
from serve.errors import kind_of
from serve.front_doors.grpc_call import refusal_of
from serve.front_doors.grpc_messages import CUT_OFF, MessageStream
from serve.front_doors.grpc_methods import Method
from serve.front_doors.grpc_wire import ANSWER_HEAD, PREFIX, STATUS_OK, Refusal, http_block, ok_block, status_block
from serve.front_doors.http2_frames import Code
from serve.front_doors.listener import peer_of

if TYPE_CHECKING:
    from serve.access.callers import Caller
    from serve.front_doors.grpc_heads import CallHead
    from serve.front_doors.http2_connection import Http2Connection

log = logging.getLogger("onegate")

STOPPED = Refusal("UNAVAILABLE", "the server is stopping")


class GrpcExchange(MessageStream):
    """See the module (`Exchange`)."""

    __slots__ = ("_begun", "_headed", "_method", "_task", "asked", "caller", "deadline", "received_ns")

    def __init__(
        self,
        connection: Http2Connection,
        number: int,
        expected: int | None,
        head: CallHead,
        max_bytes: int,
        caller: Caller | None = None,
    ) -> None:
        # For every call: `super()` takes as long as what it finds.
        MessageStream.__init__(self, connection, number, expected, head, max_bytes)
        self.caller = caller
        self.deadline: float | None = None
        self.received_ns = 0
        """When the call began: one with a single message when that was whole."""
        self.asked = head.asked
        self._method: Method | None = None
        """Set once the call counts."""
        self._headed = False
        """The answer's headers were sent."""
        self._task: asyncio.Task[None] | None = None
        self._begun = False
        """The task has had a turn."""

    @property
    def peer(self) -> str:
        """The client's address, as `HOST:PORT`."""
        return peer_of(self.connection.transport)

    def header(self, name: str) -> str | None:
        """A header, or metadata, that the client sent, by lower-case name."""
        return self._head.header(name)

    # -- the stream's side ----------------------------------------------------------------------------------------

    def opened(self) -> None:
        """The call's headers are there: it is taken or refused."""
        head = self._head
        if head.method is None:
            self._refuse_soon(http_block(head.status) if head.refusal is None else self._status_of(head.refusal))
            return
        if head.timeout_s is not None:
            self.deadline = self.connection.loop.time() + head.timeout_s
        if head.method.many is not None:
            self._queue = deque()
            self._start(head.method)

    def _refuse_soon(self, block: bytes) -> None:
        """Most clients have sent the message already: once it has been read, there is nothing to be reset."""
        self._refused = block
        self.connection.loop.call_soon(self._send_refused)

    def _send_refused(self) -> None:
        self.send_frames(b"", (), 0, self._refused)

    def finished(self) -> None:
        """The client has sent all."""
        if self._refused:
            self._send_refused()
        elif self._is_cut_off:
            self.fail(Refusal("INTERNAL", CUT_OFF))
        elif self._queue is not None:
            self._wake_reader()
        elif self._message is None:
            self.fail(Refusal("UNIMPLEMENTED", "the method takes one message, got none"))
        else:
            assert self._head.method is not None
            self._start(self._head.method)

    # -- the call --------------------------------------------------------------------------------------------------

    def _start(self, method: Method) -> None:
        """The call counts from now on: before, it costs its client more than the server."""
        overload = method.bound.enter()
        if overload is not None:
            if method.recorded is not None:
                method.recorded.note_refused(kind_of(overload), self.asked)
            refusal = refusal_of(method.service, overload)
            self._note_refused(method, refusal)
            self._refuse_soon(self._status_of(refusal))
            return
        self.received_ns = time.perf_counter_ns()
        self._method = method
        self.working = True
        self._task = asyncio.Task(self._work(), loop=self.connection.loop, name="call")

    async def _work(self) -> None:
        self._begun = True
        method = self._method
        assert method is not None
        try:
            if method.many is not None:
                await method.many(self, self)
            else:
                assert method.one is not None
                assert self._message is not None
                flag, message = self._message
                self._message = (0, b"")
                await method.one(await self._unpacked(message) if flag else message, self)
                if self.is_held_back:
                    # What is kept for the client counts.
                    await self.sendable()
        except OnegateError as error:
            self.refuse(refusal_of(method.service, error, self.asked.id))
        except Exception:
            log.exception("a call was not answered")
            self.connection.reset(self, Code.INTERNAL_ERROR)
        finally:
            self._worked()

    def _worked(self) -> None:
        """The work has ended, whatever became of it."""
        # Once it is cancelled, it holds the frame that holds this.
        self._task = None
        if self.working:
            self.working = False
            assert self._method is not None
            self._method.bound.under_way -= 1
            self.settle()

    # -- out -------------------------------------------------------------------------------------------------------

    def answer(self, message: bytes) -> None:
        """The only message, and the status."""
        size = len(message)
        self._headed = True
        self.send_frames(ANSWER_HEAD, (PREFIX.pack(0, size), message), size + PREFIX.size, self._status_ok())

    async def send(self, message: bytes) -> None:
        """One of several messages."""
        size = len(message)
        head = b"" if self._headed else ANSWER_HEAD
        self._headed = True
        self.send_frames(head, (PREFIX.pack(0, size), message), size + PREFIX.size, b"")
        await self.sendable()

    def succeed(self) -> None:
        """The status behind the messages."""
        head = b"" if self._headed else ANSWER_HEAD
        self.send_frames(head, (), 0, self._status_ok())

    def refuse(self, refusal: Refusal) -> None:
        """The status of a call that fails, alone where no message was sent."""
        self.send_frames(b"", (), 0, self._status_of(refusal))

    def _status_of(self, refusal: Refusal) -> bytes:
        self.asked.ensure_id()
        return status_block(refusal, self.asked.told, headed=self._headed)

    def note_too_large(self) -> None:
        """The call is counted as refused."""
        method = self._head.method
        if method is not None and method.recorded is not None:
            method.recorded.note_refused(PayloadTooLarge.__name__, self.asked)

    def _note_refused(self, method: Method, refusal: Refusal) -> None:
        """A call ends for which no work has begun."""
        if method.access_log is not None:
            self.asked.status = refusal.code
            caller = "" if self.caller is None else self.caller.name
            method.access_log.note(self.asked, self.received_ns, caller=caller, peer=self.peer)

    def _status_ok(self) -> bytes:
        told = self.asked.told
        return ok_block(told) if told else STATUS_OK

    # -- the end ---------------------------------------------------------------------------------------------------

    def gone(self) -> None:
        """Nobody waits: the work ends."""
        self._large = None
        task = self._task
        if task is None:
            self._worked()
            return
        task.cancel()
        if not self._begun:
            # One that is cancelled before its turn never begins.
            task.add_done_callback(lambda _: self._worked())

    def fail(self, refusal: Refusal) -> None:
        """The call ends before its time."""
        if self._task is not None:
            # For the line that the work writes when it is cancelled.
            self.asked.status = refusal.code
        elif self._head.method is not None:
            self._note_refused(self._head.method, refusal)
        if self.is_held_back:
            # What is to be said would have to wait behind it.
            self.connection.reset(self, Code.CANCEL)
        else:
            self.refuse(refusal)
        self.gone()

    def give_up(self) -> None:
        """The server waits no longer."""
        self.fail(STOPPED)

    def look(self) -> None:
        """Ends a call past its deadline, one whose message does not come, and one that makes no room for its answer."""
        shared = self.connection.shared
        if self.is_held_back:
            if shared.is_late(self.moved, shared.timeout_s):
                self.fail(STOPPED)
        elif self.deadline is not None and self.connection.loop.time() > self.deadline:
            self.fail(Refusal("DEADLINE_EXCEEDED", "the deadline passed before the call had ended"))
        elif self._is_owed() and shared.is_late(self._since, shared.timeout_s):
            text = f"the message did not arrive within {shared.timeout_s:g} s"
            self.fail(Refusal("DEADLINE_EXCEEDED", text))
