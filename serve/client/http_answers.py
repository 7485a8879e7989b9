"""Replies of HTTP/1.1 as they come off a connection, whoever reads it: `AnswerReader` says where the next bytes go and
is told how many came.

A body of known length is received where it stays, so that its tensors are views on it. RFC 9112 says what ends a body.
"""

from __future__ import annotations

import re

import msgspec
import numpy as np

HEADER_LENGTH = "inference-header-content-length"
"""Where in a body the binary tensors begin."""

LARGEST_HEAD = 64 * 1024

_ALIGNED = 64
_NO_BODY = (204, 304)
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


class BadAnswer(Exception):
    """What came is no reply of HTTP/1.1."""


class HttpAnswer(msgspec.Struct):
    """A whole reply; `headers` by lower-case name, of one that comes twice the last."""

    status: int
    headers: dict[str, str]
    body: memoryview


class AnswerReader:
    """Reads one reply after the other; `expect` comes before each."""

    def __init__(self) -> None:
        self._space = memoryview(bytearray(LARGEST_HEAD))
        self.expect()

    def expect(self) -> None:
        """From here on the next reply is read."""
        self.begun = False
        """Whether anything of it has come."""
        self.keeps = False
        """Whether the connection may be used again afterwards."""
        self._filled = 0
        self._answer: HttpAnswer | None = None
        self._body: memoryview | None = None
        self._received = 0
        self._chunks: _Chunks | None = None
        self._until_end: bytearray | None = None

    @property
    def answer(self) -> HttpAnswer:
        """The reply, once it is whole."""
        assert self._answer is not None
        return self._answer

    def buffer(self) -> memoryview:
        """Where the next bytes go; never empty."""
        if self._body is not None and self._received < len(self._body):
            return self._body[self._received :]
        return self._space[self._filled :]

    def received(self, count: int) -> bool:
        """So many bytes are in the buffer; whether the reply is whole. Raises `BadAnswer`."""
        self.begun = True
        if self._body is not None:
            self._received += count
            return self._received == len(self._body)
        if self._answer is not None:
            return self._take(self._space[:count])
        self._filled += count
        return self._read_head()

    def ended(self) -> bool:
        """The server has closed the connection; whether the reply is whole by that."""
        if self._until_end is None:
            return False
        self.answer.body = memoryview(self._until_end)
        return True

    def _read_head(self) -> bool:
        head = bytes(self._space[: self._filled])
        while (end := head.find(b"\r\n\r\n")) >= 0:
            answer, version = _read_head(head[:end])
            rest = head[end + 4 :]
            if answer.status < 200:
                # What the server says in between, as 100: the reply itself follows.
                head = rest
                continue
            self._filled = 0
            self._answer = answer
            return self._begin_body(answer, version, rest)
        if len(head) == LARGEST_HEAD:
            raise BadAnswer(f"its head is longer than {LARGEST_HEAD} bytes")
        self._space[: len(head)] = head
        self._filled = len(head)
        return False

    def _begin_body(self, answer: HttpAnswer, version: bytes, rest: bytes) -> bool:
        headers = answer.headers
        self.keeps = version == b"HTTP/1.1" and headers.get("connection", "").lower() != "close"
        if answer.status in _NO_BODY:
            return self._is_whole(rest)
        if "transfer-encoding" in headers:
            if headers["transfer-encoding"].lower() != "chunked":
                raise BadAnswer(f"its transfer encoding is {headers['transfer-encoding']!r:.80}")
            self._chunks = _Chunks()
        elif (length := headers.get("content-length")) is not None:
            answer.body = _room(length, headers.get(HEADER_LENGTH, ""))
            return self._begin_sized(answer.body, rest)
        else:
            self._until_end, self.keeps = bytearray(), False
        return self._take(rest)

    def _begin_sized(self, body: memoryview, rest: bytes) -> bool:
        taken = min(len(rest), len(body))
        body[:taken] = rest[:taken]
        if taken == len(body):
            return self._is_whole(rest[taken:])
        self._body, self._received = body, taken
        return False

    def _take(self, data: bytes | memoryview) -> bool:
        """Of a body whose length is not known."""
        if self._until_end is not None:
            self._until_end += data
            return False
        assert self._chunks is not None
        if not self._chunks.feed(data):
            return False
        self.answer.body = memoryview(self._chunks.body)
        return self._is_whole(self._chunks.pending)

    def _is_whole(self, behind: bytes | bytearray) -> bool:
        # Nothing was asked that this could answer.
        self.keeps = self.keeps and not behind
        return True


class _Chunks:
    """A chunked body (RFC 9112, section 7.1)."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.pending = bytearray()
        self._left = 0
        self._in_trailers = False

    def feed(self, data: bytes | memoryview) -> bool:
        """Whether the body is whole; `pending` is then what follows it. Raises `BadAnswer`."""
        self.pending += data
        while True:
            if self._left:
                if not self._take_chunk():
                    return False
                continue
            line, found, rest = self.pending.partition(b"\r\n")
            if not found:
                if len(line) > LARGEST_HEAD:
                    raise BadAnswer("a line of its chunks does not end")
                return False
            self.pending = rest
            if self._in_trailers:
                if not line:
                    return True
                continue
            self._begin_chunk(bytes(line))

    def _begin_chunk(self, line: bytes) -> None:
        size = line.partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(size):
            raise BadAnswer(f"the size of a chunk is {size!r:.40}")
        self._left = int(size, 16)
        self._in_trailers = self._left == 0

    def _take_chunk(self) -> bool:
        """Takes what is there of a chunk and its line end; whether that was all of it."""
        taken = self.pending[: self._left]
        if len(taken) < self._left:
            self.body += taken
            self._left -= len(taken)
            self.pending.clear()
            return False
        end = self.pending[self._left : self._left + 2]
        if len(end) < 2:
            return False
        if end != b"\r\n":
            raise BadAnswer("a chunk is longer than it said")
        self.body += taken
        del self.pending[: self._left + 2]
        self._left = 0
        return True


def _read_head(head: bytes) -> tuple[HttpAnswer, bytes]:
    """The reply without its body, and the protocol's version."""
    first, *lines = head.split(b"\r\n")
    version, _, status = first.partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or not status[:3].isdigit() or len(status.partition(b" ")[0]) != 3:
        raise BadAnswer(f"it begins with {first!r:.80}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise BadAnswer(f"it has the header {line!r:.80}")
        headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
    return HttpAnswer(int(status[:3]), headers, memoryview(b"")), version


def _room(length: str, tensors_begin: str) -> memoryview:
    """Memory for the body, in which the tensors lie aligned. It is taken up as the bytes come: a length alone drives no
    allocation."""
    if not (length.isascii() and length.isdigit() and len(length) < 19):
        raise BadAnswer(f"its length is {length!r:.40}")
    size = int(length)
    ahead = -int(tensors_begin) % _ALIGNED if tensors_begin.isascii() and tensors_begin.isdigit() else 0
    try:
        room = np.empty(size + 2 * _ALIGNED, np.uint8)
    except (MemoryError, ValueError) as error:
        raise BadAnswer(f"it says that {size} bytes follow, for which there is no memory") from error
    begin = -room.ctypes.data % _ALIGNED + ahead
    return room.data[begin : begin + size]
