"""What clients send over HTTP/2 connections: right calls, frames that are changed where they mean something, and
bytes."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import hpack
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.serve.front_doors.http2_bytes import (
    PREFACE,
    Flag,
    Frame,
    Kind,
    frame,
    literal,
    message,
    request,
    reset,
    settings,
    window_update,
)
from tests.serve.fuzzing.grpc_calls import changed_calls
from tests.serve.fuzzing.grpc_seeds import Call
from tests.serve.fuzzing.hostile import SIZES, WORDS, damage
from tests.serve.fuzzing.inputs import PIECES, GrpcInput, Http2Input

GREETING = PREFACE + settings()
_PARTS = 128
"""Of the first byte of an input: what follows are kinds, flags, streams and payloads of frames, and header blocks as
lines, so that a change leaves them what they are."""
_BETWEEN_PARTS = b"\n\xff\xfe\xfd\n"
_AS_LINES = b"="
_FIELDS = (
    ":method", ":scheme", ":path", ":authority", ":status", ":proto", "te", "content-type", "grpc-timeout",
    "grpc-encoding", "grpc-accept-encoding", "content-length", "connection", "cookie", "X-A", "x-a", "x-a-bin", "",
)  # fmt: skip
_VALUES = (
    "POST", "http", "trailers", "application/grpc", "application/grpc+json", "gzip", "deflate", "1S", "1n", "10u",
    "99999999H", "GET", "/", "5", " a", "a" * 5000, *(word for word in WORDS if word.isascii()),
)  # fmt: skip
_streams = st.sampled_from((0, 1, 1, 3, 3, 5, 7, 2, 99, (1 << 31) - 1))
_numbers = st.sampled_from([size & 0xFFFF_FFFF for size in SIZES])

Fields = list[tuple[str, str]]


def frames_of(call: GrpcInput, stream: int = 1, *, packed: bool = False) -> list[Frame]:
    """A call as most clients send it."""
    fields = request(**{":path": f"/{call.method}"}, grpc_encoding="gzip" if packed else None)
    sent = b"".join(message(gzip.compress(each, 1) if packed else each, packed) for each in call.messages)
    return [Frame(Kind.HEADERS, Flag.END_HEADERS, stream, literal(fields)), Frame(Kind.DATA, 1, stream, sent)]


def on_http2(*frames: Frame) -> bytes:
    """A connection with these frames."""
    return GREETING + b"".join(map(bytes, frames))


def corpus_of(*frames: Frame) -> list[bytes]:
    """The same as bytes that `read` takes, as they are and as parts."""
    return [b"\0" + on_http2(*frames), bytes([_PARTS]) + _BETWEEN_PARTS.join(map(_part, frames))]


def _part(each: Frame) -> bytes:
    payload = each.payload
    if each.kind == Kind.HEADERS and each.flags & Flag.END_HEADERS:
        lines = (b"%b: %b" % (bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(payload, raw=True))
        payload = _AS_LINES + b"\n".join(lines)
    return bytes([each.kind, each.flags]) + each.stream.to_bytes(2, "big") + payload


def _frame(part: bytes) -> Frame:
    payload = part[4:]
    if payload[:1] == _AS_LINES:
        fields = (line.partition(b": ")[::2] for line in payload[1:].split(b"\n"))
        payload = literal((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)
    return Frame(part[0] % 12, part[1], int.from_bytes(part[2:4], "big"), payload)


def read(data: bytes) -> Http2Input:
    """The conversation in `data`, which may be anything."""
    first = data[0] if data else 0
    piece, sent = PIECES[first % len(PIECES)], data[1:]
    if first >= _PARTS:
        sent = on_http2(*(_frame(part) for part in sent.split(_BETWEEN_PARTS) if len(part) >= 4))
    return Http2Input(sent, piece)


# -- made ------------------------------------------------------------------------------------------------------------


@dataclass
class _Maker:
    """Draws the frames of a connection, whose header blocks follow each other."""

    draw: DrawFn
    encoder: hpack.Encoder
    stream: int = -1

    def call(self, call: GrpcInput) -> list[Frame]:
        """A call whose headers, framing and message may each be another than usual."""
        self.stream += 2
        stream, draw = self.stream, self.draw
        packed = draw(st.integers(0, 5)) == 0
        head, body = frames_of(call, stream, packed=packed)
        if draw(st.booleans()):
            fields = request(**{":path": f"/{call.method}"}, grpc_encoding="gzip" if packed else None)
            head = head._replace(payload=self.block(fields))
        headers = self.split(head, Kind.CONTINUATION)
        if draw(st.integers(0, 9)) == 0:
            body = body._replace(payload=damage(draw, body.payload))
        return [*headers, *self.split(body, Kind.DATA)]

    def block(self, fields: Fields) -> bytes:
        """A header block of the fields, some of them changed, or bytes of it."""
        draw = self.draw
        for _ in range(draw(st.sampled_from((0, 0, 1, 1, 2)))):
            at = draw(st.integers(0, len(fields) - 1)) if fields else 0
            added = draw(st.sampled_from(((), (draw(_names_and_values),), (draw(_names_and_values),) * 2)))
            fields[at : at + draw(st.integers(0, 1))] = added
        if draw(st.integers(0, 9)) == 0:
            self.encoder.header_table_size = draw(st.sampled_from((0, 50, 4096, 70_000)))
        encoded = [(name.encode(), value.encode()) for name, value in fields]
        block = self.encoder.encode(encoded, huffman=draw(st.booleans()))
        return damage(draw, block) if draw(st.integers(0, 9)) == 0 else block

    def split(self, whole: Frame, kind: int) -> list[Frame]:
        """The frame in two, with padding, or as it is."""
        draw, payload = self.draw, whole.payload
        how = draw(st.integers(0, 5))
        if how == 0:
            at = draw(st.integers(0, len(payload)))
            last = Flag.END_HEADERS if whole.kind == Kind.HEADERS else Flag.END_STREAM
            rest = Frame(kind, last, whole.stream, payload[at:])
            return [whole._replace(payload=payload[:at], flags=whole.flags & ~last), rest]
        if how == 1:
            count = draw(st.sampled_from((0, 1, 9, 255)))
            padded = bytes([count]) + payload + bytes(draw(st.sampled_from((count, count, 0))))
            return [whole._replace(payload=padded, flags=whole.flags | Flag.PADDED)]
        return [whole]

    def other(self) -> Frame:
        """A frame beside the calls."""
        return self.draw(st.sampled_from(_OTHERS))(self.draw)


_names_and_values = st.tuples(st.sampled_from(_FIELDS), st.sampled_from(_VALUES))


def _whole(data: bytes) -> Frame:
    return Frame(data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:])


def _setting(draw: DrawFn) -> Frame:
    pairs = {draw(st.integers(0, 7)): draw(_numbers) for _ in range(draw(st.integers(0, 3)))}
    return _whole(settings(pairs))


def _update(draw: DrawFn) -> Frame:
    return _whole(window_update(draw(_numbers), draw(_streams)))


def _reset(draw: DrawFn) -> Frame:
    return _whole(reset(draw(_streams), draw(_numbers)))


def _ping(draw: DrawFn) -> Frame:
    return Frame(Kind.PING, draw(st.sampled_from((0, 0, 1))), 0, bytes(8))


def _any(draw: DrawFn) -> Frame:
    payload = draw(st.sampled_from((b"", bytes(4), bytes(5), bytes(8), b"\xff" * 6, bytes(20_000)))) + draw(_few)
    return Frame(draw(st.integers(0, 11)), draw(st.integers(0, 255)), draw(_streams), payload)


_few = st.binary(max_size=8)
_OTHERS: tuple[Callable[[DrawFn], Frame], ...] = (_setting, _update, _reset, _ping, _any)


@st.composite
def http2_conversations(draw: DrawFn, right: Sequence[Call]) -> Http2Input:
    """One to three calls, frames between them and their parts mixed, now and then cut off or with other bytes."""
    maker = _Maker(draw, hpack.Encoder())
    sent: list[Frame] = []
    for _ in range(draw(st.integers(1, 3))):
        parts = maker.call(draw(changed_calls(right)))
        # A later call's frames between those of an earlier one; header blocks stay in their order.
        at = draw(st.sampled_from((len(sent), len(sent), max(0, len(sent) - 1))))
        sent[at:at] = parts
    for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
        sent.insert(draw(st.integers(0, len(sent))), maker.other())
    data = on_http2(*sent)
    if draw(st.integers(0, 5)) == 0:
        data = damage(draw, data)
    return Http2Input(data, draw(st.sampled_from(PIECES)))


def seeds_of(calls: Sequence[GrpcInput]) -> list[list[Frame]]:
    """The frames of right connections: each call on its own, some in other forms, and all together."""
    alone = [frames_of(call) for call in calls]
    packed = [frames_of(call, packed=True) for call in calls[:3]]
    together = [each for number, call in enumerate(calls) for each in frames_of(call, 2 * number + 1)]
    mixed = sorted(together, key=lambda each: each.kind == Kind.DATA)
    first, second = alone[0]
    split = [
        first._replace(flags=0, payload=first.payload[:40]),
        Frame(Kind.CONTINUATION, Flag.END_HEADERS, 1, first.payload[40:]),
        second._replace(flags=0, payload=second.payload[:9]),
        Frame(Kind.PING, 0, 0, b"whatever"),
        Frame(Kind.DATA, Flag.PADDED, 1, b"\2" + second.payload[9:] + bytes(2)),
        _whole(frame(Kind.HEADERS, 1, literal([("x-a", "b")]), Flag.END_HEADERS | Flag.END_STREAM)),
    ]
    return [*alone, *packed, mixed, split]
