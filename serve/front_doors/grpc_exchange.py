"""One gRPC call on an HTTP/2 stream: messages in, messages and a status out, and how it ends before its time.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md; codes of what a client does wrong:
https://github.com/grpc/grpc/blob/master/doc/statuscodes.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from model_store.errors import InternalError, InvalidInput, OnegateError, OutOfMemory, PayloadTooLarge
from serve.errors import kind_of
from serve.front_doors.compression import inflated
from serve.front_doors.grpc_call import refusal_of
from serve.front_doors.grpc_methods import Method
from serve.front_doors.grpc_streams import AT_ONCE
from serve.front_doors.grpc_wire import ANSWER_HEAD, PREFIX, STATUS_OK, Refusal, http_block, ok_block, status_block
from serve.front_doors.http2_frames import Code
from serve.front_doors.http2_stream import STREAM_WINDOW, Stream
from serve.front_doors.listener import peer_of
from serve.in_place import InPlaceBytes

if TYPE_CHECKING:
    from serve.access.callers import Caller
    from serve.front_doors.grpc_heads import CallHead
    from serve.front_doors.http2_connection import Http2Connection

log = logging.getLogger("onegate")

CUT_OFF = "the last message is cut off"
STOPPED = Refusal("UNAVAILABLE", "the server is stopping")


class GrpcExchange(Stream):
    """See the module (`Exchange`). A message may have `max_bytes`, unpacked where it comes compressed."""

    __slots__ = (
        "_begun", "_flag", "_head", "_headed", "_held", "_large", "_left", "_max_bytes", "_message", "_method",
        "_prefix", "_queue", "_reader", "_refused", "_since", "_task", "asked", "caller", "deadline", "received_ns",
    )  # fmt: skip

    def __init__(
        self,
        connection: Http2Connection,
        number: int,
        expected: int | None,
        head: CallHead,
        max_bytes: int,
        caller: Caller | None = None,
    ) -> None:
        super().__init__(connection, number, expected)
        self.caller = caller
        self.deadline: float | None = None
        self.received_ns = 0
        """When the call began: one with a single message when that was whole."""
        self.asked = head.asked
        self._head = head
        self._max_bytes = max_bytes
        self._method: Method | None = None
        """Set once the call counts."""
        self._headed = False
        """The answer's headers were sent."""
        self._refused = b""
        """The only header block of a call that is not taken."""
        self._prefix = b""
        """The beginning of a message, as long as its length is not known."""
        self._flag = 0
        """Whether the message is compressed, and what it has of it and of how much is missing, while it comes."""
        self._large: InPlaceBytes | None = None
        self._left = 0
        self._message: tuple[int, bytes] | None = None
        """The one of a call with one."""
        self._queue: deque[tuple[int, bytes]] | None = None
        """Of a stream, those that nobody has asked for yet, and bytes of those behind them."""
        self._held = bytearray()
        self._reader: asyncio.Future[None] | None = None
        self._since = connection.shared.tick
        """When what is coming has begun."""
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

    # -- the stream's side: in -------------------------------------------------------------------------------------

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

    def received(self, part: bytes | memoryview) -> None:
        """Part of the messages; one that has come as a whole is cut out, another collected in its place."""
        if self._held:
            self._held += part
        elif not self._refused:
            self._read(part)
        if not self.ended:
            self._grant()

    def _read(self, part: bytes | bytearray | memoryview) -> None:
        begin, size = 0, len(part)
        while begin < size and not self.closed:
            if self._queue is not None and len(self._queue) >= AT_ONCE:
                # Many small messages are larger as objects than as bytes.
                self._held += part[begin:]
                return
            if self._large is not None:
                count = min(self._left, size - begin)
                self._large.room()[:count] = part[begin : begin + count]
                begin += count
                self.filled(count)
                continue
            missing = PREFIX.size - len(self._prefix)
            prefix = self._prefix + bytes(part[begin : begin + missing])
            begin += missing
            if len(prefix) < PREFIX.size:
                self._prefix = prefix
                break
            self._prefix = b""
            flag, length = PREFIX.unpack(prefix)
            if self._is_refused(flag, length):
                return
            if size - begin >= length:
                self._take(flag, bytes(part[begin : begin + length]))
                begin += length
            else:
                self._collect(flag, length)

    def _collect(self, flag: int, length: int) -> None:
        try:
            self._large = InPlaceBytes(length)
        except OutOfMemory as error:
            self._give_up(Refusal("RESOURCE_EXHAUSTED", error.message))
            return
        self._flag, self._left = flag, length
        self._since = self.connection.shared.tick

    def room(self) -> memoryview | None:
        """Where a message goes that is being collected."""
        return None if self._large is None else self._large.room()

    def filled(self, count: int) -> None:
        """More of it is there."""
        large = self._large
        assert large is not None
        large.fill(count)
        self._left -= count
        if not self._left:
            self._large = None
            self._take(self._flag, large.content())

    def _is_refused(self, flag: int, length: int) -> bool:
        """Whether the call ends for what the message is to be."""
        refusal = None
        if 0 <= self._max_bytes < length:
            text = f"SERVER: Received message larger than max ({length} vs. {self._max_bytes})"
            refusal = Refusal("RESOURCE_EXHAUSTED", text)
            method = self._head.method
            if method is not None and method.recorded is not None:
                method.recorded.note_refused(PayloadTooLarge.__name__, self.asked)
        elif flag > 1 or (flag and self._head.encoding is None):
            refusal = Refusal("INTERNAL", f"a message has the flag {flag} and the encoding {self._head.encoding}")
        elif self._queue is None and self._message is not None:
            refusal = Refusal("UNIMPLEMENTED", "the method takes one message, got more")
        if refusal is not None:
            self._give_up(refusal)
        return refusal is not None

    def _take(self, flag: int, message: bytes) -> None:
        self._since = self.connection.shared.tick
        if self._queue is None:
            self._message = (flag, message)
        else:
            self._queue.append((flag, message))
            self._wake_reader()

    def _grant(self) -> None:
        """Room for the message that is coming, and for the next, unless others wait."""
        if not (self._queue or self._held):
            self.grant(self._left + STREAM_WINDOW)

    def finished(self) -> None:
        """The client has sent all."""
        if self._refused:
            self._send_refused()
        elif self._is_cut_off:
            self._give_up(Refusal("INTERNAL", CUT_OFF))
        elif self._queue is not None:
            self._wake_reader()
        elif self._message is None:
            self._give_up(Refusal("UNIMPLEMENTED", "the method takes one message, got none"))
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

    def __aiter__(self) -> GrpcExchange:
        return self

    async def __anext__(self) -> bytes:
        """The next message of a stream. No generator: one that is left in the middle is closed by a task of its own."""
        queue = self._queue
        assert queue is not None
        while not queue:
            if self._held:
                held, self._held = self._held, bytearray()
                self._read(held)
                continue
            if self.ended and self._is_cut_off:
                raise InternalError(CUT_OFF)
            if self.ended or self.closed:
                raise StopAsyncIteration
            self._reader = self.connection.loop.create_future()
            await self._reader
        flag, message = queue.popleft()
        if not queue:
            # What comes behind it had to wait until now.
            self._since = self.connection.shared.tick
        self._grant()
        return await self._unpacked(message) if flag else message

    @property
    def _is_cut_off(self) -> bool:
        """Whether the last message is there in part."""
        return self._large is not None or bool(self._prefix)

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _unpacked(self, message: bytes) -> bytes:
        encoding = self._head.encoding
        assert encoding is not None
        try:
            return await inflated(message, encoding, self._max_bytes if self._max_bytes >= 0 else 1 << 62)
        except PayloadTooLarge:
            raise PayloadTooLarge("Decompressed message larger than max") from None
        except InvalidInput as error:
            # The code that gRPC has for it, though it is the client's mistake.
            raise InternalError(error.message) from None

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

    def _give_up(self, refusal: Refusal) -> None:
        """Ends the call before its time."""
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
        self._give_up(STOPPED)

    def look(self) -> None:
        """Ends a call past its deadline, one whose message does not come, and one that makes no room for its answer."""
        shared = self.connection.shared
        if self.is_held_back:
            if shared.is_late(self.moved, shared.timeout_s):
                self._give_up(STOPPED)
        elif self.deadline is not None and self.connection.loop.time() > self.deadline:
            self._give_up(Refusal("DEADLINE_EXCEEDED", "the deadline passed before the call had ended"))
        elif self._is_owed() and shared.is_late(self._since, shared.timeout_s):
            text = f"the message did not arrive within {shared.timeout_s:g} s"
            self._give_up(Refusal("DEADLINE_EXCEEDED", text))

    def _is_owed(self) -> bool:
        """Whether the client has to send more: a stream only what it has begun, and may send."""
        if self.ended:
            return False
        return self._queue is None or (not self._queue and self._is_cut_off)
