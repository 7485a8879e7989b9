"""HTTP/2 connections of the gRPC door without sockets: bytes in, and whether what comes back is HTTP/2 and gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import hpack

from serve.dialects.grpc_base import CODES
from serve.front_doors.http2_connection import Http2Connection
from serve.front_doors.http2_connections import Http2Application, Http2Connections
from tests.serve.front_doors.http2_bytes import Code, Flag, Frame, Kind
from tests.serve.front_doors.http2_wire import Answer
from tests.serve.fuzzing.inputs import Http2Input
from tests.serve.fuzzing.wire import Transport, deliver

LONG_TICKS = 1000
"""After so many, all that waits for its client has waited too long."""
_PAYLOADS = {Kind.RST_STREAM: 4, Kind.PING: 8, Kind.WINDOW_UPDATE: 4}


@dataclass
class Http2Sent:
    """What came back; `left_over` says what the connection did not give back."""

    data: bytes = b""
    left_over: list[str] = field(default_factory=list)

    def outcomes(self) -> list[tuple[str, str]]:
        """How calls and the connection have ended, and what is said about it: a name of a gRPC code, `status 415`,
        `reset CANCEL`, `GOAWAY PROTOCOL_ERROR`. Raises `ValueError` for what a server may not send."""
        reading = _Reading()
        for number, each in enumerate(_frames(self.data)):
            if (each.kind == Kind.SETTINGS) != (number == 0) and not each.flags:
                raise ValueError(f"frame {number} is of kind {each.kind}")
            reading.take(each)
        return reading.ended


def _frames(data: bytes) -> Iterator[Frame]:
    while data:
        end = 9 + int.from_bytes(data[:3], "big")
        if len(data) < end:
            raise ValueError("the last frame is cut off")
        yield Frame(data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:end])
        data = data[end:]


class _Reading:
    """A client's state."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []
        self._decoder = hpack.Decoder()
        self._answers: dict[int, Answer] = {}
        self._gone = False

    def take(self, each: Frame) -> None:
        """The next frame; raises `ValueError` where there may be none such."""
        if self._gone:
            raise ValueError(f"a frame of kind {each.kind} after the connection's end")
        if len(each.payload) != _PAYLOADS.get(Kind(each.kind), len(each.payload)):
            raise ValueError(f"a frame of kind {each.kind} has {len(each.payload)} bytes")
        answer = self._answers.setdefault(each.stream, Answer())
        if each.kind in (Kind.HEADERS, Kind.DATA):
            if not each.stream or answer.ended or answer.reset is not None:
                raise ValueError("an answer after its end")
            if each.kind == Kind.HEADERS:
                self._headers(answer, each)
            elif not answer.headers:
                raise ValueError("data before its headers")
            answer.ended = bool(each.flags & Flag.END_STREAM)
            if answer.ended:
                self._end(answer)
        elif each.kind == Kind.RST_STREAM:
            answer.reset = int.from_bytes(each.payload, "big")
            if not answer.ended:
                self.ended.append((f"reset {Code(answer.reset).name}", ""))
        elif each.kind == Kind.GOAWAY:
            code = Code(int.from_bytes(each.payload[4:8], "big"))
            self._gone = code != Code.NO_ERROR
            self.ended.append((f"GOAWAY {code.name}", each.payload[8:].decode()))
        elif each.kind in (Kind.PRIORITY, Kind.PUSH_PROMISE, Kind.CONTINUATION):
            raise ValueError(f"a frame of kind {each.kind}")

    def _headers(self, answer: Answer, each: Frame) -> None:
        if not each.flags & Flag.END_HEADERS or (answer.headers and not each.flags & Flag.END_STREAM):
            raise ValueError(f"headers with the flags {each.flags}")
        try:
            fields = [(str(name), str(value)) for name, value in self._decoder.decode(each.payload)]
        except hpack.HPACKError as error:
            raise ValueError(f"no header block: {error}") from error
        if any(name != name.lower() or value != value.strip() or "\n" in value for name, value in fields):
            raise ValueError(f"fields that no answer may have: {fields}")
        answer.add(fields)
        if ":status" not in answer.headers:
            raise ValueError(f"headers without a status: {fields}")

    def _end(self, answer: Answer) -> None:
        if answer.headers[":status"] == "200" and answer.code not in CODES:
            raise ValueError(f"an answer without a code: {answer}")
        # Raises `AssertionError` for messages that are none.
        assert answer.code == "OK" or not answer.messages or answer.trailers
        self.ended.append((answer.code, answer.text))


async def converse(application: Http2Application, sent: Http2Input) -> Http2Sent:
    """What a connection of `application` answers, until its client has left."""
    others = asyncio.all_tasks()
    shared = Http2Connections(application, lambda: None, timeout_s=60)
    connection = Http2Connection(shared, asyncio.get_running_loop())
    answered = bytearray()
    transport = Transport(answered)
    connection.connection_made(transport)
    for piece in sent.pieces():
        await deliver(connection, transport, piece)
    await _settle(100, lambda: connection.streams.under_way > 0)
    for _ in range(2):
        connection.look()
        shared.tick += LONG_TICKS
    kept = sum(stream.ended and not stream.working for stream in connection.streams.open.values())
    connection.connection_lost(None)
    await _settle(20, lambda: asyncio.all_tasks() > others)
    left = {
        "answers that were not sent": kept,
        "streams": connection.streams.under_way,
        "tasks": len(asyncio.all_tasks() - others),
        "connections": len(shared.open),
    }
    return Http2Sent(bytes(answered), [f"{count} {what}" for what, count in left.items() if count])


async def _settle(turns: int, is_busy: Callable[[], bool]) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    if is_busy():
        # Batches in a thread.
        await asyncio.sleep(0.01)
