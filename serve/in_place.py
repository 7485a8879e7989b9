"""Memory that sockets write into themselves, so that what is received is copied once: from the kernel."""

from __future__ import annotations

import ctypes
import sys

from model_store.errors import OutOfMemory
from serve.memory import telling_of_memory

_bytes_of_length = ctypes.pythonapi.PyBytes_FromStringAndSize
_bytes_of_length.argtypes, _bytes_of_length.restype = (ctypes.c_void_p, ctypes.c_ssize_t), ctypes.py_object
_address = ctypes.pythonapi.PyBytes_AsString
_address.argtypes, _address.restype = (ctypes.py_object,), ctypes.c_void_p
_memory_at = ctypes.pythonapi.PyMemoryView_FromMemory
_memory_at.argtypes, _memory_at.restype = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int), ctypes.py_object
_WRITABLE = 0x200
"""`PyBUF_WRITE`."""


class InPlace:
    """Memory to be filled from its begin on, as long as what is received."""

    __slots__ = ("_filled", "_memory")

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._filled = 0

    def begin(self, content: bytes) -> None:
        """Takes what has come by another way before all else."""
        self._memory[: len(content)] = content
        self._filled = len(content)

    def room(self) -> memoryview:
        """Where the next bytes go; not to be kept any longer than this object."""
        return self._memory[self._filled :]

    def fill(self, count: int) -> None:
        """So many bytes were written into the last `room`."""
        self._filled += count

    @property
    def whole(self) -> bool:
        """Whether that was all."""
        return self._filled == len(self._memory)

    def content(self) -> bytes | memoryview:
        """All of them; nothing may be written into `room` from then on."""
        assert self.whole
        return self._memory.toreadonly()


class InPlaceBytes(InPlace):
    """`bytes` of that length.

    The `bytes` is made without contents and filled before anybody else sees it, as its maker's documentation allows
    (https://docs.python.org/3/c-api/bytes.html#c.PyBytes_FromStringAndSize). So it need not grow, which copies, and a
    claimed length takes address space, but no memory: that comes with what is written. (A kernel that was told not to
    overcommit counts it all the same.)

    Raises `OutOfMemory` where there is no room for the length.
    """

    __slots__ = ("_content",)

    def __init__(self, length: int) -> None:
        if length > sys.maxsize // 2:
            raise OutOfMemory(f"{length} bytes can't be received: no address space is as large")
        with telling_of_memory(f"{length} bytes can't be received"):
            self._content: bytes = _bytes_of_length(None, length)
        super().__init__(_memory_at(_address(self._content), length, _WRITABLE))

    def content(self) -> bytes:
        """All of them; nothing may be written into `room` from then on."""
        assert self.whole
        return self._content
