"""Bytes as a client sends them over a connection: whole heads, framings, several requests, in pieces of any size."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from serve.front_doors.http_connection import HttpConnection
from serve.front_doors.http_connections import HttpApplication, HttpConnections
from tests.serve.fuzzing.http_requests import changed_requests
from tests.serve.fuzzing.inputs import PIECES, HttpInput, WireInput

_REPLY_END = b"\r\n\r\n"


@dataclass
class WireSent:
    """What came back; `left_over` says what the connection did not give back."""

    data: bytes = b""
    left_over: list[str] = field(default_factory=list)

    def replies(self) -> Iterable[tuple[int, int, bytes]]:
        """Status, length as its head tells it, and body of each; raises `ValueError` where it is no HTTP."""
        rest = self.data
        while rest:
            head, end, rest = rest.partition(_REPLY_END)
            start, *lines = head.decode("latin-1").split("\r\n")
            version, status, *_ = start.split(" ")
            if version != "HTTP/1.1" or not end or any(": " not in line for line in lines):
                raise ValueError(f"no reply: {head[:100]!r}")
            size = next((int(line[16:]) for line in lines if line.startswith("content-length: ")), 0)
            # None to a HEAD.
            sent = 0 if not rest or rest.startswith(b"HTTP/1.1 ") else size
            yield int(status), size, rest[:sent]
            rest = rest[sent:]


class Transport(asyncio.Transport):
    """Takes what is written, and sends nothing."""

    def __init__(self, sent: bytearray) -> None:
        super().__init__()
        self._sent = sent
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._sent += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """What comes is of no interest any more; it is not closed for it."""

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        """The test has no more to send than it has."""

    def resume_reading(self) -> None:
        """As above."""

    def get_write_buffer_size(self) -> int:
        return 0


async def converse(application: HttpApplication, sent: WireInput) -> WireSent:
    """What a connection of `application` answers."""
    shared = HttpConnections(application, lambda: None, header_timeout_s=10, body_timeout_s=10)
    connection = HttpConnection(shared, asyncio.get_running_loop())
    answered = bytearray()
    transport = Transport(answered)
    connection.connection_made(transport)
    for piece in sent.pieces():
        await deliver(connection, transport, piece)
    for _ in range(200):
        await asyncio.sleep(0)
    if shared.under_way and not transport.closing:
        # Batches in a thread.
        await asyncio.sleep(0.02)
    connection.connection_lost(None)
    left = [f"{shared.under_way} under way"] if shared.under_way else []
    return WireSent(bytes(answered), left + (["an open connection"] if shared.open else []))


async def deliver(connection: asyncio.BufferedProtocol, transport: Transport, piece: bytes) -> None:
    """Gives the connection what comes next, as its socket would."""
    while piece and not transport.closing:
        room = memoryview(connection.get_buffer(-1))
        count = min(len(room), len(piece))
        room[:count] = piece[:count]
        del room
        connection.buffer_updated(count)
        piece = piece[count:]
        await asyncio.sleep(0)


def on_the_wire(request: HttpInput, *, chunk: int | None = None) -> bytes:
    """A request with its length, or in chunks of so many bytes."""
    target = quote(request.path, safe="/:@!$&'()*+,;=-._~") + (f"?{request.query}" if request.query else "")
    framing = f"content-length: {len(request.body)}" if chunk is None else "transfer-encoding: chunked"
    lines = [f"{request.method} {target} HTTP/1.1", "host: 127.0.0.1", framing]
    lines += [f"{name}: {value}" for name, value in request.headers if name not in ("host", "transfer-encoding")]
    head = "\r\n".join(lines).encode("utf-8", "replace") + _REPLY_END
    if chunk is None:
        return head + request.body
    starts = range(0, len(request.body), chunk)
    parts = [request.body[start : start + chunk] for start in starts]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@st.composite
def conversations(draw: DrawFn, seeds: Sequence[HttpInput]) -> WireInput:
    """One to three requests behind each other, now and then cut off or with bytes between them."""
    data = b""
    for _ in range(draw(st.integers(1, 3))):
        request = draw(changed_requests(seeds))
        data += on_the_wire(request, chunk=draw(st.sampled_from([None, None, 1, 50, 100_000])))
        data += draw(st.sampled_from([b"", b"", b"", b"\r\n", b"x", b"\0"]))
    end = draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))
    return WireInput(data[:end], draw(st.sampled_from(PIECES)))
