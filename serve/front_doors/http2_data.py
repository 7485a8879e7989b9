"""DATA frames of an HTTP/2 client (RFC 9113, section 6.1): to their streams as they come, or where these want them."""

from __future__ import annotations

from collections.abc import Callable

from serve.front_doors.http2_frames import END_STREAM, PADDED, Code, ConnectionFault, StreamFault, window_update
from serve.front_doors.http2_limits import Allowance
from serve.front_doors.http2_out import Outbox
from serve.front_doors.http2_stream import Stream
from serve.front_doors.http2_stream_table import StreamTable

CONNECTION_WINDOW = 1 << 30
"""Streams have windows of their own; this one is to hold nobody back."""

LARGE_FROM_BYTES = 64 * 1024
"""As much of a frame must be missing for the socket to write it in its place."""

MIN_DATA_BYTES = 16
"""Smaller DATA that ends nothing is counted as carrying nothing."""


class IncomingData:
    """The DATA of a connection. `fail` ends a stream for what its client did."""

    __slots__ = (
        "_chatter", "_credit", "_ends", "_fail", "_in_place", "_left", "_out", "_padding", "_stream", "_streams",
        "_was_in_place",
    )  # fmt: skip

    def __init__(
        self, streams: StreamTable, out: Outbox, chatter: Allowance, fail: Callable[[StreamFault], None]
    ) -> None:
        self._streams = streams
        self._out = out
        self._chatter = chatter
        self._fail = fail
        self._credit = CONNECTION_WINDOW
        """What the client may send on all streams together."""
        self._stream: Stream | None = None
        """Whose frame has come in part: bytes of it that are missing, and of padding behind them, and whether they are
        the last."""
        self._left = 0
        self._padding = 0
        self._ends = False
        self._in_place = False
        self._was_in_place = False
        """The last frame was."""

    @property
    def is_missing(self) -> bool:
        """Whether the rest of a frame is to come."""
        return self._left > 0 or self._padding > 0

    def frame(self, number: int, flags: int, part: bytes | memoryview) -> None:
        """A whole frame without padding."""
        last = bool(flags & END_STREAM)
        if len(part) < MIN_DATA_BYTES and not last:
            self._chatter.spend()
        stream = self._receiver(number, len(part))
        if stream is not None:
            stream.take(part, last)

    def begin(self, number: int, flags: int, part: bytes | memoryview, length: int) -> None:
        """A frame with padding, or one that has not come as a whole: `part` is what is there of `length` bytes: some,
        unless there are none."""
        start, padding = 0, 0
        if flags & PADDED:
            if not length:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "padding without a length")
            start, padding = 1, part[0]
            if padding >= length:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "DATA are more padding than frame")
        size = length - start - padding
        self._stream, self._left, self._padding, self._ends = None, size, padding, bool(flags & END_STREAM)
        if size < MIN_DATA_BYTES and not self._ends:
            self._chatter.spend()
        try:
            stream = self._stream = self._receiver(number, length)
            if stream is not None:
                stream.credit -= length - size
                if self._ends and not size:
                    stream.end()
        except StreamFault as fault:
            # Here, so that the rest of the frame is passed over.
            self._fail(fault)
        self.go_on(part[start:])

    def pass_over(self, count: int) -> None:
        """So many bytes that are to come are of a frame that means nothing."""
        self._stream, self._padding = None, count

    def go_on(self, data: bytes | memoryview) -> int:
        """More of a frame; returns how much of `data` is of it."""
        taken = min(len(data), self._left)
        stream = self._stream
        if taken:
            self._left -= taken
            try:
                if stream is not None and not stream.closed:
                    stream.take(data[:taken], self._ends and not self._left)
            except StreamFault as fault:
                self._fail(fault)
        if self._left:
            self._aim()
            return taken
        passed = min(len(data) - taken, self._padding)
        self._padding -= passed
        self._stream = None
        return taken + passed

    def room(self, buffer: memoryview) -> memoryview:
        """Where the socket is to write the next bytes: where they are wanted, or into `buffer`."""
        stream = self._stream
        if self._in_place and stream is not None and not stream.closed:
            room = stream.room()
            if room is not None:
                return room[: self._left]
        self._in_place = False
        if self._was_in_place:
            # What comes behind a frame is most likely the next, of which little is to be copied.
            self._was_in_place = False
            return buffer[:LARGE_FROM_BYTES]
        return buffer

    def filled(self, count: int) -> bool:
        """Whether so many bytes that have come are in `room`."""
        stream = self._stream
        if not self._in_place or stream is None:
            return False
        self._left -= count
        try:
            stream.take_in_place(count, self._ends and not self._left)
        except StreamFault as fault:
            self._fail(fault)
        if self._left:
            self._aim()
        else:
            self._in_place, self._stream = False, None
            self._was_in_place = True
        return True

    def forget(self) -> None:
        """Nothing that comes is wanted any more."""
        self._stream, self._in_place = None, False

    def _aim(self) -> None:
        stream = self._stream
        self._in_place = (
            self._left >= LARGE_FROM_BYTES and stream is not None and not stream.closed and bool(stream.room())
        )

    def _receiver(self, number: int, length: int) -> Stream | None:
        """Whose the data are, for which the windows have room; None where nobody wants them any more."""
        self._credit -= length
        if self._credit < CONNECTION_WINDOW // 2:
            if self._credit < 0:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the connection's window is exceeded")
            self._out.say(window_update(0, CONNECTION_WINDOW - self._credit))
            self._credit = CONNECTION_WINDOW
        stream = self._streams.open.get(number)
        if stream is None:
            self._streams.look_back(number)
            return None
        if stream.ended:
            raise StreamFault(number, Code.STREAM_CLOSED)
        if length > stream.credit:
            raise StreamFault(number, Code.FLOW_CONTROL_ERROR)
        return stream
