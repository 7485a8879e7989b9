"""Bodies that hypothesis makes up by the rules of a format, most of which break some: forms, CSV, numpy's files, and
compressed ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.serve.fuzzing.bodies import multipart, packed
from tests.serve.fuzzing.hostile import damaged
from tests.serve.fuzzing.http_requests import changed_requests
from tests.serve.fuzzing.inputs import HttpInput


def made_requests(seeds: Sequence[HttpInput], format: str) -> SearchStrategy[HttpInput]:
    """`seeds` with bodies that are made up, as often as with changed ones; `format` is one of `MADE`."""
    fresh = st.builds(
        lambda index, body: replace(seeds[index], body=body), st.integers(0, len(seeds) - 1), MADE[format]
    )
    return fresh | changed_requests(seeds)


_few = st.sampled_from((1, 1, 1, 2, 20))

# -- forms -----------------------------------------------------------------------------------------------------------

_disposition = st.builds(
    lambda key, name, more: b"Content-Disposition: form-data; %b=%b%b" % (key, name, more),
    st.sampled_from((b"name", b"name", b"name", b"NAME", b"name*", b"filename", b"names")),
    st.sampled_from((b'"age"', b'"city"', b"income", b'"a\\"b"', b'""', b"", b'"\xff"', b'"%b"' % (b"n" * 5000))),
    st.sampled_from(
        (b"", b"", b"; filename=a", b'; filename="', b"; name=city", b";;;=", b";" * 4000, b"; filename*=utf-8'a'%zz")
    ),
)
_type = st.sampled_from(
    (b"", b"", b"\r\nContent-Type: text/csv", b"\r\nContent-Type: image/png", b"\r\nx: " + b"y" * 5000)
)
_ends = st.sampled_from((b"\r\n\r\n",) * 4 + (b"\n\n", b""))
_contents = st.sampled_from((b"[[31]]", b"[[1.5]]", b"Ulm", b"", b"\r\n--7d9b", b"--7d9b--", bytes(300)))
_part = st.builds(lambda *pieces: b"".join(pieces), _disposition, _type, _ends, _contents | st.binary(max_size=20))
_forms = st.builds(lambda parts, times: multipart(*parts * times), st.lists(_part, max_size=4), _few).flatmap(damaged)

_pair = st.sampled_from((b"age=1", b"a", b"=", b"%", b"%4", b"%zz=%00", b"city=%C3%A9+", b"b=" + b"%41" * 300))
_encoded = st.builds(
    lambda pairs, times: b"&".join(pairs * times), st.lists(_pair, max_size=5), st.sampled_from((1, 1, 1, 300))
)

# -- CSV -------------------------------------------------------------------------------------------------------------

_cell = st.sampled_from(
    (
        *(b"1", b"1.5", b"nan", b"-inf", b"1e999", b"", b" ", b'"', b'""', b'"a,b"', b'"a\nb"', b"'", b"\xff", b"\0"),
        *(
            b"9" * 400,
            b"age",
            b"city",
            b"income",
            b"x",
            b"x0",
            b"0x10",
            b"1_000",
            b"true",
            b"\xef\xbb\xbf1",
            b"a" * 500,
        ),
        *("٣".encode(), b"=1+1", b"-", b"1 2"),
    )
)
_row = st.lists(_cell, max_size=6)
_tables = st.builds(
    lambda rows, comma, end, times: end.join(comma.join(row) for row in rows * times) + end,
    st.lists(_row, max_size=5),
    st.sampled_from((b",", b",", b",", b";", b"\t", b", ")),
    st.sampled_from((b"\n", b"\n", b"\r\n", b"\r")),
    _few,
)

# -- numpy -----------------------------------------------------------------------------------------------------------

_descr = st.sampled_from(
    (
        *("'<f4'", "'<f4'", "'<i8'", "'>f8'", "'|b1'", "'<U3'", "'|S5'", "'|O'", "'<U999999999'", "'|V8'", "'V2'"),
        *("'<f16'", "'<c8'", "'<M8[s]'", "[('a','<i4')]", "''", "1", "'<i3'", "'|S0'", "'<U0'"),
    )
)
_size = st.sampled_from(("0", "1", "2", "2", "-1", "True", "1.0", str(2**40), str(2**63 - 1), "9" * 30, "'a'", "()"))
_sizes = st.lists(_size, max_size=4) | st.lists(_size, min_size=33, max_size=40)
_order = st.sampled_from(("False", "False", "True", "1", "None"))
_header = st.builds(
    lambda descr, order, sizes: (
        f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': ({', '.join([*sizes, ''])}), }}"
    ),
    _descr,
    _order,
    _sizes,
)
_no_header = st.sampled_from(
    (
        "",
        "{}",
        "__import__('os')",
        "(" * 300,
        "{'descr': '<f4'}",
        "-" * 9000 + "1",
        "[" * 90 + "]" * 90,
        "\0",
        "9" * 5000,
    )
)
_version = st.sampled_from(((b"\1\0", 2), (b"\1\0", 2), (b"\2\0", 4), (b"\3\0", 4), (b"\4\0", 4)))
_elements = st.sampled_from((b"", bytes(4), bytes(8), bytes(16), bytes(24))) | st.binary(max_size=32)


def _npy(version: tuple[bytes, int], header: str, elements: bytes) -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + version[0] + len(text).to_bytes(version[1], "little") + text + elements


_arrays = st.builds(_npy, _version, _header | _header | _no_header, _elements)

# -- compression -----------------------------------------------------------------------------------------------------

_packed = st.builds(
    lambda data, encoding, times: packed(data, encoding) * times,
    st.sampled_from((b"", b"a", bytes(5000), bytes(4 << 20), json.dumps([[1, 2]]).encode())),
    st.sampled_from(("gzip", "deflate")),
    st.sampled_from((1, 1, 2, 300)),
)

MADE = {
    "forms": _forms | _encoded,
    "csv": _tables,
    "npy": _arrays | _arrays.flatmap(damaged),
    "compression": _packed | _packed.flatmap(damaged),
}
