"""Right bodies of the kinds that processors, forms and compression read, each with its content type."""

from __future__ import annotations

import io
import zlib

import numpy as np

from tests.serve.pictures import encoded, quarters

Header = tuple[str, str]

JSON = ("content-type", "application/json")
OCTETS = ("content-type", "application/octet-stream")


def packed(content: bytes, encoding: str) -> bytes:
    """`content` in the encoding `gzip` or `deflate`."""
    stream = zlib.compressobj(wbits=15 if encoding == "deflate" else 31)
    return stream.compress(content) + stream.flush()


def _npy(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> tuple[bytes, Header]:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue(), ("content-type", "application/x-npy")


def _npz(compressed: bool, arrays: dict[str, np.ndarray]) -> tuple[bytes, Header]:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, allow_pickle=False, **arrays)
    return file.getvalue(), ("content-type", "application/x-npz")


_PEOPLE = {
    "age": np.array([[31], [4]], np.int64),
    "city": np.array([["Ulm"], ["Łódź"]]),
    "income": np.array([[1.5], [-2e3]], np.float32),
}

NPY = [
    _npy(np.array([[1.5, -2], [0, 3]], np.float32)),
    _npy(np.asfortranarray(np.arange(6, dtype=">f8").reshape(3, 2)), (2, 0)),
    _npy(np.array(["a", "bc"]), (3, 0)),
    _npy(np.array([True, False])),
    _npz(False, {"x": np.ones((1, 2), np.float16)}),
    _npz(True, _PEOPLE),
]

CSV = [
    (b'age,city,income\n31,Ulm,1.5\n4,"L, ""x""",-2e3\n', ("content-type", "text/csv")),
    ("31,Łódź,1.5\r\n4,,nan\r\n".encode(), ("content-type", "text/csv; header=absent")),
    (b"1.5,-2\n0,3e8\n", ("content-type", "text/csv; charset=utf-8")),
    (b"x0;x1\n1;2\n", ("content-type", "text/plain")),
]

_BOUNDARY = "7d9b"
_MULTIPART = ("content-type", f"multipart/form-data; boundary={_BOUNDARY}")


def multipart(*parts: bytes, boundary: bytes = _BOUNDARY.encode()) -> bytes:
    """Parts, headers included, between boundaries."""
    return b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts) + b"--%b--\r\n" % boundary


FORMS = [
    (
        multipart(
            b'Content-Disposition: form-data; name="age"\r\n\r\n[[31]]',
            b'Content-Disposition: form-data; name="city"; filename="c.txt"\r\nContent-Type: text/plain\r\n\r\nUlm',
            b"Content-Disposition: form-data; name=income\r\n\r\n[[1.5]]",
        ),
        _MULTIPART,
    ),
    (
        multipart(
            b'Content-Disposition: form-data; name*=utf-8\'\'d%C3%A4ta; filename="a\\"b.png"\r\n'
            b"Content-Type: application/octet-stream\r\n\r\n\0\1\r\n--7d9\r\n"
        ),
        _MULTIPART,
    ),
]
MANY_PARTS = (multipart(*[b"Content-Disposition: form-data; name=a\r\n\r\n1"] * 1001), _MULTIPART)
URLENCODED = (b"age=31&city=Ulm+a%C3%A9&income=%5B1.5%5D", ("content-type", "application/x-www-form-urlencoded"))

PICTURES = [
    (encoded(quarters(), "PNG"), ("content-type", "image/png")),
    (encoded(quarters(8), "JPEG"), ("content-type", "image/jpeg")),
    (encoded(quarters(4, mode="P"), "GIF"), OCTETS),
    (encoded(quarters(3, mode="RGBA"), "WEBP"), ("content-type", "image/webp")),
    (encoded(quarters(3), "TIFF"), ("content-type", "image/tiff")),
    (encoded(quarters(3, mode="L"), "BMP"), OCTETS),
    (encoded(quarters(5, mode="CMYK"), "JPEG"), ("content-type", "image/jpeg")),
]
