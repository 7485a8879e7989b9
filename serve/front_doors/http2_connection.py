"""One HTTP/2 connection of a server (RFC 9113): frames in, streams made of them, on the event loop's own thread.

Small frames are read from one buffer that all connections share; sockets write large bodies where they stay. No other
thread takes part, so a request costs no hop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NoReturn, cast

from serve.front_doors.http2_connections import Http2Connections
from serve.front_doors.http2_data import CONNECTION_WINDOW, IncomingData
from serve.front_doors.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    FRAME_HEAD_BYTES,
    LARGEST_WINDOW,
    PADDED,
    PING,
    PREFACE,
    SETTINGS,
    SETTINGS_ACK,
    STREAM_BITS,
    Code,
    ConnectionFault,
    Setting,
    StreamFault,
    block_in,
    frame,
    goaway,
    number_in,
    reset,
    settings,
    settings_in,
    window_update,
)
from serve.front_doors.http2_headers import MAX_HEADER_BYTES, HeadReader, Malformed
from serve.front_doors.http2_limits import MAX_STREAMS, chatter, resets
from serve.front_doors.http2_out import Outbox
from serve.front_doors.http2_stream import STREAM_WINDOW, Stream
from serve.front_doors.http2_stream_table import Ended, StreamTable

log = logging.getLogger("onegate")

COPIED_BYTES = 16 * 1024
"""As much is copied before it is looked at: parts of `bytes` are cheaper to have than those of a view."""

MAX_FRAME_BYTES = 1024 * 1024
"""A large body comes in few frames; a stream with one keeps others waiting for no longer."""

LONGEST_WHOLE = MAX_HEADER_BYTES + 261
"""Of frames that are read as a whole; with the padding and priority of HEADERS."""

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
GOODBYE = b"goodbye!"
_GOODBYE = frame(PING, 0, 0, GOODBYE)


class Http2Connection(asyncio.BufferedProtocol):
    """See the module."""

    def __init__(self, shared: Http2Connections, loop: asyncio.AbstractEventLoop) -> None:
        self.shared = shared
        self.loop = loop
        self.streams = StreamTable()
        self.chatter = chatter()
        self.transport: asyncio.Transport
        self.out: Outbox
        self._data: IncomingData
        self._heads = HeadReader()
        self._resets = resets()
        self._rest = b""
        """The beginning of a frame."""
        self._greeted = False
        self._only: int | None = SETTINGS
        """The kind of the next frame, where no other may come."""
        self._block = bytearray()
        self._block_of = (0, 0)
        """Whose it is, and the flags of its HEADERS."""
        self._leaving = False
        """The client was told that no new stream is taken."""
        self._deaf = False
        """What still comes is nobody's."""
        self._since = shared.tick
        """When what is coming has begun, or writing was paused, or the connection has ended, or a slow client was seen
        to read."""
        self._unread = 0
        """What such a client had not read at the last look."""
        self._heard = shared.tick
        self._asked: int | None = None
        """When the client was asked whether it is there."""

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

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._data.room(self.shared.buffer)

    def buffer_updated(self, count: int) -> None:
        """Bytes have come."""
        if self._deaf:
            return
        self._heard = self.shared.tick
        self._asked = None
        if not self._is_in_the_middle():
            self._since = self.shared.tick
        try:
            if self._data.filled(count):
                return
            data: bytes | memoryview = self.shared.buffer[:count]
            if self._rest:
                data, self._rest = self._rest + data, b""
            elif count <= COPIED_BYTES:
                data = bytes(data)
            if self._greeted:
                self._read(data)
            else:
                self._greet(bytes(data))
        except ConnectionFault as fault:
            self._end(fault.code, fault.text)

    # -- frames ----------------------------------------------------------------------------------------------------

    def _greet(self, data: bytes) -> None:
        if data[: len(PREFACE)] != PREFACE[: len(data)]:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "this port speaks HTTP/2 with prior knowledge: gRPC")
        if len(data) < len(PREFACE):
            self._rest = data
            return
        self._greeted = True
        self._read(data[len(PREFACE) :])

    def _read(self, data: bytes | memoryview) -> None:
        begin = self._data.go_on(data) if self._data.is_missing else 0
        size, first = len(data), begin
        while size - begin >= FRAME_HEAD_BYTES and not self._deaf:
            word, flags, number = FRAME_HEAD.unpack_from(data, begin)
            kind, length, number = word & 0xFF, word >> 8, number & STREAM_BITS
            if length > MAX_FRAME_BYTES or (self._only is not None and kind != self._only):
                self._refuse_frame(kind, length)
            content = begin + FRAME_HEAD_BYTES
            end = content + length
            try:
                if end <= size:
                    begin = end
                    if kind == DATA and not flags & PADDED:
                        self._data.frame(number, flags, data[content:end])
                    else:
                        self._frame(kind, number, flags, data[content:end])
                elif self._begin_frame(kind, number, flags, data[content:size], length):
                    begin = size
                else:
                    break
            except StreamFault as fault:
                self._fail(fault)
        if begin > first and self._only is None:
            self._since = self.shared.tick
        self._rest = bytes(data[begin:])

    def _frame(self, kind: int, number: int, flags: int, content: bytes | memoryview) -> None:
        """A whole frame."""
        if kind == DATA:
            self._data.begin(number, flags, content, len(content))
        elif kind <= CONTINUATION:
            _HANDLERS[kind](self, number, flags, bytes(content))
        else:
            # Section 4.1: passed over.
            self.chatter.spend()

    def _begin_frame(self, kind: int, number: int, flags: int, part: bytes | memoryview, length: int) -> bool:
        """Takes what has come of a frame of `length` bytes, unless it has to be there as a whole."""
        if kind == DATA and part:
            self._data.begin(number, flags, part, length)
            return True
        if kind > CONTINUATION:
            self.chatter.spend()
            self._data.pass_over(length - len(part))
            return True
        if kind != DATA and length > LONGEST_WHOLE:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"a frame of {length} bytes is too much to read")
        return False

    def _refuse_frame(self, kind: int, length: int) -> NoReturn:
        if length > MAX_FRAME_BYTES:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame may have {MAX_FRAME_BYTES} bytes, got {length}")
        raise ConnectionFault(Code.PROTOCOL_ERROR, f"expected a frame of kind {self._only}, got one of kind {kind}")

    def _is_in_the_middle(self) -> bool:
        """Whether the client has more to send before the connection is as if it had sent nothing."""
        return bool(self._rest) or self._only is not None or self._data.is_missing

    # -- headers ---------------------------------------------------------------------------------------------------

    def _headers(self, number: int, flags: int, payload: bytes) -> None:
        if not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"stream {number} is none that a client opens")
        block = block_in(payload, flags)
        if flags & END_HEADERS:
            self._head(number, flags, block)
            return
        self._block = bytearray(block)
        self._block_of = (number, flags)
        self._only = CONTINUATION

    def _continuation(self, number: int, flags: int, payload: bytes) -> None:
        if self._only != CONTINUATION or number != self._block_of[0]:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"CONTINUATION of stream {number} continues nothing")
        self._block += payload
        if len(self._block) > MAX_HEADER_BYTES:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"headers may have {MAX_HEADER_BYTES} bytes")
        if not flags & END_HEADERS:
            self.chatter.spend()
            return
        block, self._block, self._only = bytes(self._block), bytearray(), None
        self._head(number, self._block_of[1], block)

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

    # -- other frames ----------------------------------------------------------------------------------------------

    def _settings(self, number: int, flags: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS are of no stream")
        self.chatter.spend()
        if flags & ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS is empty")
            if self._only == SETTINGS:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "expected the client's SETTINGS")
            return
        self._only = None
        # The last of a kind: each window goes through all streams, and a frame has room for ten thousand.
        for identifier, value in dict(settings_in(payload)).items():
            if identifier == Setting.INITIAL_WINDOW_SIZE:
                change, self.out.initial_window = value - self.out.initial_window, value
                for stream in self.streams.open.values():
                    stream.widen(change)
            elif identifier == Setting.MAX_FRAME_SIZE:
                self.out.frame_limit = value
        self.out.say(SETTINGS_ACK)
        self.out.send_more()

    def _window_update(self, number: int, flags: int, payload: bytes) -> None:
        increment = number_in(payload) & LARGEST_WINDOW
        self.chatter.spend()
        if not number:
            self.out.widen(increment)
            return
        stream = self.streams.find(number)
        if stream is None:
            return
        if not increment or stream.window + increment > LARGEST_WINDOW:
            raise StreamFault(number, Code.FLOW_CONTROL_ERROR if increment else Code.PROTOCOL_ERROR)
        stream.widen(increment)
        if stream.is_held_back:
            self.out.send_more()

    def _ping(self, number: int, flags: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PING is of no stream")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"expected a PING of 8 bytes, got {len(payload)}")
        self.chatter.spend()
        if not flags & ACK:
            self.out.say(frame(PING, ACK, 0, payload))
        elif payload == GOODBYE and self.shared.draining:
            self._leave()

    def _goaway(self, number: int, flags: int, payload: bytes) -> None:
        # The client opens no more streams, and gets what it has asked for.
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "GOAWAY is of no stream")
        if len(payload) < 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"expected a GOAWAY of at least 8 bytes, got {len(payload)}")
        self.chatter.spend()

    def _priority(self, number: int, flags: int, payload: bytes) -> None:
        # Means nothing any more (section 5.3.2).
        if not number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY is of a stream")
        self.chatter.spend()
        if len(payload) != 5:
            if number not in self.streams.open:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"expected PRIORITY of 5 bytes, got {len(payload)}")
            raise StreamFault(number, Code.FRAME_SIZE_ERROR)

    def _none_of_a_client(self, number: int, flags: int, payload: bytes) -> None:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "a client has nothing to push")

    # -- the end ---------------------------------------------------------------------------------------------------

    def go_away(self) -> None:
        """Asks the client to open streams elsewhere. Those that are on their way are taken still, until it has answered
        (section 6.8): gRPC's own clients try again at once what is refused, before they know of another connection."""
        if not self._deaf:
            self.out.say(goaway(LARGEST_WINDOW, Code.NO_ERROR) + _GOODBYE)

    def _leave(self) -> None:
        """Takes no new streams: what is not known here, clients send again elsewhere."""
        if not self._leaving:
            self._leaving = True
            self.out.say(goaway(self.streams.taken, Code.NO_ERROR))

    def close_if_idle(self) -> None:
        """Closes a connection that has no stream."""
        if self._deaf:
            return
        self._leave()
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
    Http2Connection._none_of_a_client,
    Http2Connection._headers,
    Http2Connection._priority,
    Http2Connection._rst_stream,
    Http2Connection._settings,
    Http2Connection._none_of_a_client,
    Http2Connection._ping,
    Http2Connection._goaway,
    Http2Connection._window_update,
    Http2Connection._continuation,
)
"""By the kind of frame. DATA go their own way."""
