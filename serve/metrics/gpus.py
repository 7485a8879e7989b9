"""What the GPUs of this machine are used for, by NVIDIA's management library (NVML). Needs nothing but the driver's
own library, as `serve/cuda.py`.

Source: https://docs.nvidia.com/deploy/nvml-api/.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import msgspec

LIBRARY = "libnvidia-ml.so.1"

_TEXT_BYTES = 96


class GpuUse(msgspec.Struct, frozen=True):
    """A GPU by NVML's unique name. `utilisation` is the share of the last sample's time in which it computed."""

    gpu: str
    used_bytes: int
    total_bytes: int
    utilisation: float


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class _Utilisation(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class GpuWatch:
    """Asks NVML again and again; where it is not there, or says nothing, there is nothing to tell. `load` stands in for
    the dynamic linker."""

    def __init__(self, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        self._library: Any = None
        try:
            library = load(LIBRARY)
            if library.nvmlInit_v2() == 0:
                self._library = library
        except OSError:
            pass

    def look(self) -> tuple[GpuUse, ...]:
        """All GPUs of the machine that answer."""
        count = ctypes.c_uint()
        if self._library is None or self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return ()
        found = (self._use(index) for index in range(count.value))
        return tuple(use for use in found if use is not None)

    def _use(self, index: int) -> GpuUse | None:
        library, device = self._library, ctypes.c_void_p()
        name, memory, utilisation = ctypes.create_string_buffer(_TEXT_BYTES), _Memory(), _Utilisation()
        # A slice of one (MIG) tells no utilisation.
        if (
            library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(device))
            or library.nvmlDeviceGetUUID(device, name, ctypes.c_uint(_TEXT_BYTES))
            or library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory))
            or library.nvmlDeviceGetUtilizationRates(device, ctypes.byref(utilisation))
        ):
            return None
        return GpuUse(name.value.decode(errors="replace"), memory.used, memory.total, utilisation.gpu / 100)
