"""What stands around gRPC's messages, written out."""

from __future__ import annotations

import re

import hpack
import pytest

from model_store.errors import InvalidInput
from serve.front_doors.grpc_wire import (
    ANSWER_HEAD,
    STATUS_OK,
    Refusal,
    http_block,
    is_grpc,
    percent_encoded,
    status_block,
    timeout_s,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"30S", 30.0),
        (b"250m", 0.25),
        (b"5000u", 0.005),
        (b"7n", 7e-9),
        (b"0m", 0.0),
        (b"99999999S", 99_999_999.0),
    ],
)
def test_a_timeout_is_read_in_its_unit(value: bytes, seconds: float) -> None:
    assert timeout_s(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"m", b"1", b"1s", b"-1m", b"1.5S", b" 1S", b"1S ", b"123456789S", b"\xff1S"])
def test_what_is_no_timeout_is_named(value: bytes) -> None:
    with pytest.raises(
        InvalidInput, match=r"^expected a grpc-timeout as 100m, got " + re.escape(repr(value.decode("latin-1")))
    ):
        timeout_s(value)


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("", ""),
        ("plain text, ~!", "plain text, ~!"),
        ("100 %", "100 %25"),
        ("ä\n", "%C3%A4%0A"),
        ("\x7f\0", "%7F%00"),
        ("\N{GRINNING FACE}", "%F0%9F%98%80"),
        (" both ends ", "%20both ends%20"),
        (" ", "%20"),
        ("\ud800", "?"),
    ],
)
def test_a_text_is_percent_encoded(text: str, encoded: str) -> None:
    assert percent_encoded(text) == encoded


@pytest.mark.parametrize(
    "content_type",
    [b"application/grpc", b"application/grpc+proto", b"Application/gRPC", b"application/grpc;charset=utf-8"],
)
def test_types_of_grpc(content_type: bytes) -> None:
    assert is_grpc(content_type)


@pytest.mark.parametrize(
    "content_type", [b"", b"application/json", b"application/grpc-web", b"application/grpcs", b"xapplication/grpc"]
)
def test_types_that_are_not_grpc_s(content_type: bytes) -> None:
    assert not is_grpc(content_type)


def fields(block: bytes) -> list[tuple[str, str]]:
    """What a client makes of it whose table has no room."""
    decoder = hpack.Decoder()
    decoder.max_allowed_table_size = 0
    return [(str(name), str(value)) for name, value in decoder.decode(block)]


HEAD = [
    (":status", "200"),
    ("content-type", "application/grpc"),
    ("grpc-accept-encoding", "identity,gzip,deflate"),
]
REFUSAL = Refusal("RESOURCE_EXHAUSTED", "100 % full", (("retry-after", "1"),))
STATUS = [("grpc-status", "8"), ("grpc-message", "100 %25 full"), ("retry-after", "1")]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (ANSWER_HEAD, HEAD),
        (STATUS_OK, [("grpc-status", "0")]),
        (status_block(REFUSAL), HEAD + STATUS),
        (status_block(REFUSAL, headed=True), STATUS),
        (http_block(415), [(":status", "415")]),
    ],
    ids=["head", "ok", "refusal alone", "refusal behind messages", "http"],
)
def test_blocks_of_answers(block: bytes, expected: list[tuple[str, str]]) -> None:
    assert fields(block) == expected
