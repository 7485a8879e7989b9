"""Bodies of requests while they arrive, within bounds of size.

A claimed length takes no memory: what is held is at most twice what has come.
"""

from __future__ import annotations

import io

from model_store.errors import DeadlineExceeded, PayloadTooLarge

_FIRST_STEP = 1024 * 1024


class BodyTimeout(DeadlineExceeded):
    """The client took too long to send the body."""


def too_large(max_bytes: int, got: str) -> PayloadTooLarge:
    """The error of a body of more than `max_bytes`."""
    return PayloadTooLarge(f"the body may have {max_bytes} bytes, got {got}", max_body_bytes=max_bytes)


class LargeBody:
    """A body of `length` bytes that sockets write into themselves, so that it is copied once: from the kernel.

    `io.BytesIO` lends its memory, and gives it away as `bytes` without a copy.
    """

    __slots__ = ("_file", "_filled", "_held", "_length")

    def __init__(self, length: int, begin: bytes) -> None:
        self._file = io.BytesIO()
        self._file.write(begin)
        self._length = length
        self._filled = self._held = len(begin)

    def room(self) -> memoryview:
        """Where the next bytes go. Not to be kept: as long as it lives, the memory can't grow."""
        if self._filled == self._held:
            self._held = min(self._length, max(2 * self._held, _FIRST_STEP))
            self._file.seek(self._held - 1)
            self._file.write(b"\0")
        return self._file.getbuffer()[self._filled : self._held]

    def fill(self, count: int) -> None:
        """So many bytes were written into the last `room`."""
        self._filled += count

    @property
    def whole(self) -> bool:
        """Whether that was all."""
        return self._filled == self._length

    def content(self) -> bytes:
        """The whole body."""
        return self._file.getvalue()
