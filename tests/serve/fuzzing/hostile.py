"""Values that readers have to refuse or to bear, and bytes damaged anywhere: what all strategies draw from."""

from __future__ import annotations

from typing import Literal

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

NUMBERS = (
    b"0", b"-0", b"-1", b"1.5", b"1e400", b"-1e400", b"3.5e38", b"1e-320", b"255", b"256", b"-129", b"65536",
    b"2147483648", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809", b"18446744073709551615",
    b"18446744073709551616", b"1099511627776", b"9" * 400, b"9" * 5000, b"NaN", b"Infinity", b"-Infinity", b"01", b"1.",
)  # fmt: skip
TEXTS = (
    b'""', b'"a"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\xf0\x9f\x98\x80"', b'"\xff"', b'"\xed\xa0\x80"',
    b'"%s"' % (b"k" * 5000), b'"\\r\\nset-cookie: a=b"', b'"../../etc/passwd"', b'"YQ"', b'"1"', b'"NaN"', b'"true"',
)  # fmt: skip
OTHERS = (
    b"null", b"true", b"false", b"[]", b"{}", b"[[]]", b"[[],[]]", b"[[1],[1,2]]", b"[null]", b'{"b64":"YQ=="}',
    b'{"b64":1}', b'{"b64":"*"}', b"[" * 400 + b"]" * 400, b"[" * 20_000, b'{"a":' * 5000, b"[" + b"1," * 4000 + b"1]",
    b"[[" + b"[]," * 2000 + b"[]]]", b"", b" ", b",", b"}", b"//",
)  # fmt: skip
WORDS = (
    "", "0", "-1", "1", "1.0", "true", "3", "9" * 30, "9" * 5000, "0x10", "1e3", "٣", "²", "\0", "\r\nx-a: b",
    "a" * 5000, "..", "%2e%2e", "/", ":", "é", "\U0001f600", "\ud800", "NaN", "None", "*", "{}", "[]", "'", '"', "\\",
    "~x", "~x/\0", "file:///%00", "file://[", "s3://[x]y", "serving_default", "payload",
    "double", "people", "broken", "BYTES", "FP32", "FP16",
)  # fmt: skip
SIZES = (
    0, 1, 2, 3, -1, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1,
    -(2**31), -(2**63), 2**64 - 1,
)  # fmt: skip

tokens = st.sampled_from(NUMBERS) | st.sampled_from(TEXTS) | st.sampled_from(OTHERS)
words = st.sampled_from(WORDS) | st.text(max_size=12)


@st.composite
def damaged(draw: DrawFn, data: bytes) -> bytes:
    """As `damage`."""
    return damage(draw, data)


def damage(draw: DrawFn, data: bytes) -> bytes:
    """`data`, most often changed in one to three places: cut, flipped, repeated, a piece moved or made up."""
    # Plain draws: to make strategies up for each input takes ten times as long.
    for _ in range(draw(_times)):
        at = draw(st.integers(0, len(data)))
        data = draw(_damages)(draw, data, at)
    return data


def _cut(draw: DrawFn, data: bytes, at: int) -> bytes:
    return data[:at]


def _behead(draw: DrawFn, data: bytes, at: int) -> bytes:
    return data[at:]


def _flip(draw: DrawFn, data: bytes, at: int) -> bytes:
    bits = draw(_bits)
    return data[:at] + bytes(byte ^ bits for byte in data[at : at + 1]) + data[at + 1 :]


def _replace(draw: DrawFn, data: bytes, at: int) -> bytes:
    return data[:at] + draw(_pieces) + data[at + draw(_spans) :]


def _move(draw: DrawFn, data: bytes, at: int) -> bytes:
    to = draw(st.integers(0, len(data)))
    return data[:to] + data[at : at + draw(_spans)] + data[to:]


def _resize(draw: DrawFn, data: bytes, at: int) -> bytes:
    """A length or count of the format becomes another one."""
    size, width, order = draw(_words)
    return data[:at] + (size & (1 << 8 * width) - 1).to_bytes(width, order) + data[at + width :]


_times = st.sampled_from((0, 1, 1, 1, 2, 3))
_damages = st.sampled_from((_cut, _behead, _flip, _flip, _replace, _replace, _move, _resize, _resize))
_bits = st.integers(1, 255)
_spans = st.integers(0, 64)
_pieces = st.binary(max_size=16)
_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
_words = st.sampled_from([(size, width, order) for size in SIZES for width in (1, 2, 4, 8) for order in _ORDERS])
