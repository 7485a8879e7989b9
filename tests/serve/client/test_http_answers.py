"""Replies as they come off a connection: the same whatever pieces they come in."""

from __future__ import annotations

import numpy as np
import pytest

from serve.client.http_answers import AnswerReader, BadAnswer

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nt: 1\r\n\r\n",
    b"abc0123456789",
)
SIZED = (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello")
EMPTY = (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", b"")
NO_BODY = (b"HTTP/1.1 204 None\r\n\r\n", b"")
INTERIM = (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\na: b\r\n\r\n" + SIZED[0], b"hello")


def feed(reader: AnswerReader, data: bytes, size: int) -> bool:
    """Whether the reply is whole with the last of the pieces."""
    whole = False
    for begin in range(0, len(data), size):
        piece = data[begin : begin + size]
        assert not whole
        while piece:
            room = reader.buffer()
            taken = min(len(room), len(piece))
            room[:taken] = piece[:taken]
            whole = reader.received(taken)
            piece = piece[taken:]
    return whole


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("data", "body"), [CHUNKED, SIZED, EMPTY, NO_BODY, INTERIM])
def test_a_reply_is_whole_with_its_last_byte(data: bytes, body: bytes, size: int) -> None:
    reader = AnswerReader()
    for _ in range(2):
        reader.expect()
        assert feed(reader, data, size)
        assert (bytes(reader.answer.body), reader.keeps) == (body, True)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_reply_without_a_length_is_whole_at_the_end_of_the_connection(size: int) -> None:
    reader = AnswerReader()
    assert not feed(reader, b"HTTP/1.1 200 OK\r\na: b\r\n\r\n" + b"x" * 200_000, size)
    assert reader.ended()
    assert (bytes(reader.answer.body), reader.keeps) == (b"x" * 200_000, False)


@pytest.mark.parametrize("data", [b"", SIZED[0][:10], SIZED[0][:-1], CHUNKED[0][:-1]])
def test_a_reply_that_ends_early_is_not_whole(data: bytes) -> None:
    reader = AnswerReader()
    assert not feed(reader, data, 1000)
    assert not reader.ended()
    assert reader.begun is bool(data)


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\nconnection: close", False),
        (b"HTTP/1.1 200 OK\r\nconnection: keep-alive", True),
        (b"HTTP/1.0 200 OK", False),
    ],
)
def test_a_connection_is_kept_where_the_reply_lets_it(head: bytes, keeps: bool) -> None:
    reader = AnswerReader()
    assert feed(reader, head + b"\r\ncontent-length: 2\r\n\r\nok", 1000)
    assert reader.keeps is keeps


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1e3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n+5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello..",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"a" * 70_000,
    ],
)
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        feed(AnswerReader(), data, 4096)


@pytest.mark.parametrize("header", [0, 1, 63, 64, 171])
def test_the_tensors_of_a_body_lie_aligned(header: int) -> None:
    numbers = np.arange(1000, dtype=np.float64)
    length = header + numbers.nbytes
    head = b"HTTP/1.1 200 OK\r\ninference-header-content-length: %d\r\ncontent-length: %d\r\n\r\n" % (header, length)
    reader = AnswerReader()
    assert feed(reader, head + b"j" * header + numbers.tobytes(), 1000)
    read = np.frombuffer(reader.answer.body[header:], np.float64)
    assert np.array_equal(read, numbers)
    assert (read.ctypes.data % 64, read.flags.writeable) == (0, True)
