"""One HTTP/2 connection of a server (RFC 9113): streams made of frames, on the event loop's own thread.

How frames are read is `http2_frame_reader.py`'s. No other thread takes part, so a request costs no hop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from serve.front_doors.http2_connections import Http2Connections
from serve.front_doors.http2_control import (
    GOODBYE,
    on_goaway,
    on_ping,
    on_priority,
    on_push,
    on_settings,
    on_window_update,
)
from serve.front_doors.http2_data import CONNECTION_WINDOW, IncomingData
from serve.front_doors.http2_frame_reader import MAX_FRAME_BYTES, FrameReader
from serve.front_doors.http2_frames import (
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_STREAM,
    LARGEST_WINDOW,
    PING,
    Code,
    ConnectionFault,
    Setting,
    StreamFault,
    frame,
    goaway,
    number_in,
    reset,
    settings,
    window_update,
)
from serve.front_doors.http2_headers import MAX_HEADER_BYTES, HeadReader, Malformed
from serve.front_doors.http2_limits import MAX_STREAMS, resets
from serve.front_doors.http2_out import Outbox
from serve.front_doors.http2_stream import STREAM_WINDOW, Stream
from serve.front_doors.http2_stream_table import Ended, StreamTable

log = logging.getLogger("onegate")

KEEPALIVE_S = 60
"""A client that has sent nothing for so long is asked whether it is there: the work of one that vanished without a
word is given up."""
KEEPALIVE_TIMEOUT_S = 20

LINGER_S = 2.0
"""How long a client that is still sending may take to read why nobody listens."""

_GREETING = settings(
    (
        (Setting.MAX_CONCURRENT_STREAMS, MAX_STREAMS),
        (Setting.INITIAL_WINDOW_SIZE, STREAM_WINDOW),
        (Setting.MAX_FRAME_SIZE, MAX_FRAME_BYTES),
        (Setting.MAX_HEADER_LIST_SIZE, MAX_HEADER_BYTES),
    )
) + window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW)
_KEEPALIVE = frame(PING, 0, 0, b"are you?")
_GOODBYE = frame(PING, 0, 0, GOODBYE)


class Http2Connection(FrameReader):
    """See the module."""

    def __init__(self, shared: Http2Connections, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(shared)
        self.loop = loop
        self.streams = StreamTable()
        self.transport: asyncio.Transport
        self.out: Outbox
        self._heads = HeadReader()
        self._resets = resets()
        self._leaving = False
        """The client was told that no new stream is taken."""
        self._unread = 0
        """What a slow client had not read at the last look."""

    # -- the event loop's side -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        # uvloop's transports are of no class that asyncio knows.
        self.transport = cast(asyncio.Transport, transport)
        self.out = Outbox(self.transport, self.loop, self.streams)
        self._data = IncomingData(self.streams, self.out, self.chatter, self._fail)
        self.shared.open.add(self)
        self.shared.deserted.clear()
        self.out.say(_GREETING)
        if self.shared.draining:
            self.go_away()

    def connection_lost(self, error: Exception | None) -> None:
        """The client has gone: so does the work for it."""
        self._deaf = True
        self._drop_streams()
        # It knows how to fail: each holds the other.
        del self._data
        self.shared.closed(self)

    def eof_received(self) -> None:
        """The client says that it has finished, which is how leaving looks: the connection is closed."""

    def pause_writing(self) -> None:
        """The client reads slower than it is answered: until it has caught up, it can't ask for more."""
        self.out.writable = False
        self._since = self.shared.tick
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """What was sent is on its way."""
        self.out.writable = True
        self._since = self._heard = self.shared.tick
        if not self.transport.is_closing():
            self.transport.resume_reading()
        for stream in list(self.streams.open.values()):
            stream.wake()

    # -- streams ---------------------------------------------------------------------------------------------------

    def _frame(self, kind: int, number: int, flags: int, content: bytes | memoryview) -> None:
        """A whole frame."""
        if kind == DATA:
            self._data.begin(number, flags, content, len(content))
        elif kind <= CONTINUATION:
            _HANDLERS[kind](self, number, flags, bytes(content))
        else:
            # Section 4.1: passed over.
            self.chatter.spend()

    def _head(self, number: int, flags: int, block: bytes) -> None:
        """A whole header block. It is read whatever becomes of it: later ones may refer to it."""
        streams = self.streams
        if number <= streams.last:
            self._trailers(number, flags, block)
            return
        streams.last = number
        try:
            head = self._heads.request(block)
        except Malformed:
            raise StreamFault(number, Code.PROTOCOL_ERROR) from None
        if streams.under_way >= MAX_STREAMS or self._leaving:
            # Not processed, so that it may be sent again (section 8.7).
            raise StreamFault(number, Code.REFUSED_STREAM)
        stream = self.shared.application.open(self, number, head)
        streams.add(stream)
        stream.ended = bool(flags & END_STREAM)
        stream.opened()
        if stream.ended and not stream.closed:
            stream.end()

    def _trailers(self, number: int, flags: int, block: bytes) -> None:
        streams = self.streams
        try:
            self._heads.trailers(block)
            malformed = not flags & END_STREAM  # section 8.1
        except Malformed:
            malformed = True
        stream = streams.open.get(number)
        if stream is None:
            if not streams.is_known(number):
                # Section 5.1.1.
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"stream {number} comes after stream {streams.last}")
            streams.look_back(number)
        elif stream.ended:
            raise StreamFault(number, Code.STREAM_CLOSED)
        elif malformed:
            raise StreamFault(number, Code.PROTOCOL_ERROR)
        else:
            stream.end()

    # -- the end of a stream ---------------------------------------------------------------------------------------

    def _rst_stream(self, number: int, flags: int, payload: bytes) -> None:
        number_in(payload)
        stream = self.streams.find(number)
        self._resets.spend()
        if stream is not None:
            self.streams.end(stream, Ended.RESET)
            stream.gone()

    def _fail(self, fault: StreamFault) -> None:
        self._resets.spend()
        stream = self.streams.open.get(fault.number)
        if stream is not None:
            self.reset(stream, fault.code)
            stream.gone()
        else:
            self.out.say(reset(fault.number, fault.code))
            self.streams.remember(fault.number, Ended.EARLY)

    def reset(self, stream: Stream, code: Code) -> None:
        """Ends a stream without an answer."""
        if not stream.closed:
            self.out.say(reset(stream.number, code))
            self.streams.end(stream, Ended.EARLY)

    def sent(self, stream: Stream) -> None:
        """Called by a stream whose last frame was sent."""
        if stream.ended:
            self.streams.end(stream, Ended.WHOLE)
        else:
            # The rest of the request is not wanted, which is no error (section 8.1).
            self.reset(stream, Code.NO_ERROR)

    def _drop_streams(self) -> None:
        for stream in list(self.streams.open.values()):
            self.streams.end(stream, Ended.EARLY)
            stream.gone()
        self._data.forget()

    # -- the end ---------------------------------------------------------------------------------------------------

    def go_away(self) -> None:
        """Asks the client to open streams elsewhere. Those that are on their way are taken still, until it has answered
        (section 6.8): gRPC's own clients try again at once what is refused, before they know of another connection."""
        if not self._deaf:
            self.out.say(goaway(LARGEST_WINDOW, Code.NO_ERROR) + _GOODBYE)

    def leave(self) -> None:
        """Takes no new streams: what is not known here, clients send again elsewhere."""
        if not self._leaving:
            self._leaving = True
            self.out.say(goaway(self.streams.taken, Code.NO_ERROR))

    def close_if_idle(self) -> None:
        """Closes a connection that has no stream."""
        if self._deaf:
            return
        self.leave()
        if not self.streams.under_way:
            self._close()

    def cut(self) -> None:
        """Ends the connection, and what is under way on it."""
        for stream in list(self.streams.open.values()):
            stream.give_up()
        self._drop_streams()
        self._close()

    def _close(self) -> None:
        self._deaf = True
        self.out.flush()
        self.transport.close()

    def _end(self, code: Code, text: str) -> None:
        """Ends the connection for what its client did; what it still sends is not read any more."""
        log.debug("an HTTP/2 connection is ended with %s: %s", code.name, text)
        self._deaf = True
        self._rest = b""
        self._since = self.shared.tick
        self._drop_streams()
        self.out.say(goaway(self.streams.taken, code, text))
        self.out.flush()
        if self.transport.can_write_eof():
            # Closed at once, with bytes unread, the kernel would take the reason away from the client.
            self.transport.write_eof()
        else:
            self.transport.close()

    # -- time ------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Called once a tick: ends what has taken too long."""
        shared = self.shared
        self.chatter.pass_time(shared.tick_s)
        self._resets.pass_time(shared.tick_s)
        if self._deaf or not self.out.writable:
            unread, before = self.transport.get_write_buffer_size(), self._unread
            self._unread = unread
            if unread < before:
                # It reads, if slowly.
                self._since = shared.tick
            if shared.is_late(self._since, shared.timeout_s if unread else LINGER_S):
                self.transport.abort()
            return
        if self._is_in_the_middle() and shared.is_late(self._since, shared.timeout_s):
            self._end(Code.PROTOCOL_ERROR, f"expected the rest of a frame within {shared.timeout_s:g} s")
            return
        for stream in list(self.streams.open.values()):
            stream.look()
        self._ask_whether_there()

    def _ask_whether_there(self) -> None:
        shared = self.shared
        if self._asked is not None:
            if shared.is_late(self._asked, KEEPALIVE_TIMEOUT_S):
                self.transport.abort()
        elif shared.is_late(self._heard, KEEPALIVE_S):
            self._asked = shared.tick
            self.out.say(_KEEPALIVE)


_HANDLERS: tuple[Callable[[Http2Connection, int, int, bytes], None], ...] = (
    on_push,
    Http2Connection._headers,
    on_priority,
    Http2Connection._rst_stream,
    on_settings,
    on_push,
    on_ping,
    on_goaway,
    on_window_update,
    Http2Connection._continuation,
)
"""By the kind of frame. DATA go their own way."""
