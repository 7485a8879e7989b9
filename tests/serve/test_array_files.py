"""`.npy` and `.npz` bodies: what numpy writes is read, and what claims more than it has is refused."""

from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
import zipfile
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from model_store.errors import InvalidInput
from serve.processors.array_files import read_npy, read_npz


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def claiming(header: str, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + content


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.array([True, False]),
        np.array(["grün", "a"]),
        np.array([b"ab", b"c"]),
        np.array(5),
        np.zeros((0, 3), np.int8),
        np.zeros((2, 0)),
        np.float16([1.5]),
    ],
)
def test_what_numpy_saves_is_read(array: np.ndarray) -> None:
    read = read_npy(npy(array))
    assert (read.dtype, read.shape, read.tolist()) == (array.dtype, array.shape, array.tolist())


def test_bfloat16_comes_as_two_bytes_without_a_type() -> None:
    read = read_npy(npy(np.array([1.5], ml_dtypes.bfloat16)))
    assert read.view(ml_dtypes.bfloat16).tolist() == [1.5]


def test_the_array_is_a_view_on_the_body() -> None:
    assert not read_npy(npy(np.ones(3))).flags.owndata


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "expected an .npy of format 1.0 to 3.0, got 0 bytes: b''"),
        (b"\x93NUMPY\x01\x00", "expected an .npy of format 1.0 to 3.0, got 8 bytes: b'\\x93NUMPY\\x01\\x00'"),
        (b"\x93NUMPY\x01\x00\x01", "the .npy ends within its header"),
        (b"\x93NUMPY\x02\x00" + b"\xff" * 4, "the .npy claims a header of 4294967295 bytes; 0 follow"),
        (claiming("["), "the header of the .npy is damaged: b'['"),
        (claiming("(" * 5000), f"the header of the .npy is damaged: {b'(' * 60!r}"),
        (claiming("[]"), "the header of the .npy lacks its three keys: b'[]'"),
        (
            claiming("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 4)}", bytes(16)),
            "the .npy claims float32[1099511627776, 4], 17592186044416 bytes; got 16",
        ),
        (
            claiming("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"\x80\x04N."),
            "an .npy must hold numbers, booleans or text, got '|O'",
        ),
        (
            claiming("{'descr': '<U0', 'fortran_order': False, 'shape': (1099511627776,)}"),
            "an .npy must hold numbers, booleans or text, got '<U0'",
        ),
        (
            claiming("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", bytes(4)),
            "an .npy must hold numbers, booleans or text, got [('a', '<f4')]",
        ),
        (
            claiming("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", bytes(4)),
            "the shape in an .npy is a tuple of sizes, got (-1,)",
        ),
        (
            claiming("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904, 4)}"),
            "the .npy claims the shape [0, 4611686018427387904, 4], larger than any memory",
        ),
    ],
)
def test_a_header_that_lies_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_npy(body)
    assert caught.value.message == message


def test_arrays_have_names() -> None:
    arrays = read_npz(npz(x=np.ones((1, 2)), n=np.array([7])))
    assert {name: array.tolist() for name, array in arrays.items()} == {"x": [[1, 1]], "n": [7]}


def test_what_unpacks_to_more_than_it_may_is_refused_before_it_is_unpacked() -> None:
    body = npz(x=np.zeros(4 * 1024 * 1024))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match=r"^the \.npz has 33554560 bytes unpacked; at most 1048576$"):
            read_npz(body, largest_bytes=1024 * 1024)
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_an_entry_that_claims_less_than_it_unpacks_to_is_not_unpacked_further() -> None:
    body = npz(x=np.zeros(4 * 1024 * 1024))
    size = struct.pack("<I", 33554560)
    assert body.count(size) >= 1
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput):
            read_npz(body.replace(size, struct.pack("<I", 256)))
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def packed(method: int, count: int = 1) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for index in range(count):
            archive.writestr(f"x{index}.npy", b"a")
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"PK\x03\x04", "the .npz can't be read: File is not a zip file"),
        (packed(zipfile.ZIP_LZMA), "the .npz is packed in another way than numpy does it"),
        (packed(zipfile.ZIP_STORED, 1001), "an .npz has at most 1000 arrays"),
        (packed(zipfile.ZIP_STORED), "expected an .npy of format 1.0 to 3.0, got 1 bytes: b'a'"),
    ],
)
def test_another_zip_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_npz(body)
    assert caught.value.message == message


def test_any_cut_and_any_changed_byte_is_read_or_refused() -> None:
    whole = npz(x=np.arange(3.0))
    single = npy(np.arange(3.0))
    for body, read in ((whole, read_npz), (single, read_npy)):
        for position in range(len(body)):
            for damaged in (body[:position], body[:position] + bytes([body[position] ^ 0x55]) + body[position + 1 :]):
                with contextlib.suppress(InvalidInput):
                    read(damaged)
