"""A client of HTTP/2 by hand: it sends bytes, and reads frames (RFC 9113)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

import hpack

from serve.dialects.grpc_base import CODES
from tests.serve.front_doors.http2_bytes import (
    PREFACE,
    Code,
    Fields,
    Flag,
    Frame,
    Kind,
    frame,
    settings,
)
from tests.serve.waiting import PATIENCE_S


@dataclass
class Answer:
    """What came on a stream."""

    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    trailers: dict[str, str] | None = None
    reset: int | None = None
    ended: bool = False

    def add(self, fields: Fields) -> None:
        """The headers, or what comes after them."""
        if self.headers:
            self.trailers = dict(fields)
        else:
            self.headers = dict(fields)

    @property
    def _last(self) -> dict[str, str]:
        return self.headers if self.trailers is None else self.trailers

    @property
    def code(self) -> str:
        """The name of the gRPC code; the HTTP status or the reason of a reset where there is none."""
        if "grpc-status" in self._last:
            return CODES[int(self._last["grpc-status"])]
        return f"reset {self.reset}" if self.reset is not None else f"status {self.headers[':status']}"

    @property
    def text(self) -> str:
        """What it says of an error."""
        return unquote(self._last.get("grpc-message", ""), errors="strict")

    @property
    def messages(self) -> list[bytes]:
        rest, found = self.content, []
        while rest:
            packed, size = struct.unpack_from(">BI", rest)
            assert packed == 0
            assert len(rest) >= 5 + size
            found.append(rest[5 : 5 + size])
            rest = rest[5 + size :]
        return found


class Wire:
    """A connection, and what comes back on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.settings: dict[int, int] = {}
        """The server's."""
        self.window = 65_535
        """What the server has granted the connection so far."""
        self._decoder = hpack.Decoder()
        self._block = b""
        self.answers: dict[int, Answer] = {}

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def greet(self, values: Mapping[int, int] | None = None) -> None:
        """The preface and settings of both sides."""
        self.send(PREFACE, settings(values))
        first = await self.read()
        assert first is not None
        assert (first.kind, first.flags, first.stream) == (Kind.SETTINGS, 0, 0)
        self.settings = dict(struct.iter_unpack(">HI", first.payload))
        self.send(frame(Kind.SETTINGS, flags=Flag.ACK))
        await self.next(Kind.SETTINGS)

    async def read(self) -> Frame | None:
        """The next frame, None at the end of the connection."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        got = Frame(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
        self._note(got)
        return got

    def _note(self, got: Frame) -> None:
        answer = self.answers.setdefault(got.stream, Answer())
        if got.kind in (Kind.HEADERS, Kind.CONTINUATION):
            assert not got.flags & (Flag.PADDED | Flag.PRIORITY)
            self._block += got.payload
            if got.flags & Flag.END_HEADERS:
                answer.add((str(name), str(value)) for name, value in self._decoder.decode(self._block))
                self._block = b""
        elif got.kind == Kind.DATA:
            answer.content += got.payload
        elif got.kind == Kind.WINDOW_UPDATE and not got.stream:
            self.window += int.from_bytes(got.payload, "big")
        elif got.kind == Kind.PING and not got.flags & Flag.ACK:
            self.send(frame(Kind.PING, payload=got.payload, flags=Flag.ACK))
        elif got.kind == Kind.RST_STREAM:
            answer.reset = int.from_bytes(got.payload, "big")
        answer.ended |= got.kind in (Kind.DATA, Kind.HEADERS) and bool(got.flags & Flag.END_STREAM)

    async def next(self, kind: int, stream: int = 0) -> Frame:
        """The next frame of this kind on this stream; others are passed over."""
        while True:
            got = await self.read()
            assert got is not None, "the connection has ended"
            if (got.kind, got.stream) == (kind, stream):
                return got

    async def answer(self, stream: int) -> Answer:
        """What a stream is answered, whole."""
        answer = self.answers.setdefault(stream, Answer())
        while not answer.ended and answer.reset is None:
            got = await self.read()
            assert got is not None, f"the connection has ended; so far {answer}"
            assert got.kind != Kind.GOAWAY, got
        return answer

    async def settled(self) -> list[Frame]:
        """Waits until all that was sent has been read; what came until then."""
        came = []
        # The second time, for what the first let run.
        for mark in (b"settled1", b"settled2"):
            self.send(frame(Kind.PING, payload=mark))
            while True:
                got = await self.read()
                assert got is not None, "the connection has ended"
                if got.kind == Kind.PING and got.payload == mark:
                    break
                came.append(got)
        return came

    async def told(self, stream: int = 0) -> tuple[str, str]:
        """How it ended: a stream by a reset, or else the connection, and the name of the reason."""
        reason = "nothing"
        while (got := await self.read()) is not None:
            if got.kind == Kind.RST_STREAM and got.stream == stream:
                return "stream", Code(int.from_bytes(got.payload, "big")).name
            if got.kind == Kind.GOAWAY:
                reason = Code(int.from_bytes(got.payload[4:8], "big")).name
        return "connection", reason

    async def ended(self) -> None:
        """Reads until the server closes the connection."""
        while await self.read() is not None:
            pass


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Wire]:
    """A connection on which nothing was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def greeted(port: int, values: Mapping[int, int] | None = None) -> AsyncIterator[Wire]:
    """A connection that is ready for calls."""
    async with connected(port) as wire:
        await wire.greet(values)
        yield wire
