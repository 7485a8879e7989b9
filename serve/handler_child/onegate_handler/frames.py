"""Messages between a replica and its handler's process: a JSON header with raw blobs behind it.

On the wire: four bytes of length (big-endian), the header, then the blobs whose lengths the header's `sizes` gives.
Both ends use this module. Nothing is pickled, so a handler's process can't run code in the replica.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

LONGEST_HEADER_BYTES = 64 << 20
LARGEST_MESSAGE_BYTES = 4 << 30
_LENGTH = struct.Struct(">I")


def _never() -> None:
    raise AssertionError("a blocking socket does not time out")


class Channel:
    """One end of a connected stream socket.

    On a socket with a timeout, `on_wait` is called each time it passes and may raise to give up.
    """

    def __init__(self, connection: socket.socket, on_wait: Callable[[], None] = _never) -> None:
        self._connection = connection
        self._on_wait = on_wait

    def send(self, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
        """Writes one message; raises `OSError` when the other end is gone."""
        head = json.dumps(dict(header, sizes=[len(blob) for blob in blobs])).encode()
        self._write(_LENGTH.pack(len(head)) + head)
        for blob in blobs:
            self._write(blob)

    def receive(self) -> tuple[dict[str, Any], list[bytes]]:
        """Reads one message; raises `EOFError` or `OSError` when the other end is gone, `ValueError` for nonsense."""
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length > LONGEST_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes; the longest has {LONGEST_HEADER_BYTES}")
        header = json.loads(self._read(length).decode())
        sizes = header.pop("sizes", None) if isinstance(header, dict) else None
        if not isinstance(sizes, list) or not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise ValueError("a header that is no object with the sizes of its blobs")
        if sum(sizes) > LARGEST_MESSAGE_BYTES:
            raise ValueError(f"a message of {sum(sizes)} bytes; the largest has {LARGEST_MESSAGE_BYTES}")
        return header, [self._read(size) for size in sizes]

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._connection.send(rest) :]
            except TimeoutError:
                self._on_wait()

    def _read(self, size: int) -> bytes:
        buffer = bytearray(size)
        rest = memoryview(buffer)
        while rest:
            try:
                count = self._connection.recv_into(rest)
            except TimeoutError:
                self._on_wait()
                continue
            if not count:
                raise EOFError("the other end closed the connection")
            rest = rest[count:]
        return bytes(buffer)
