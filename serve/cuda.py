"""Which GPUs the NVIDIA driver shows to this process. Needs no CUDA library: the driver's own is asked."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from model_store.errors import ModelNotReady, first_line
from serve.devices import Gpu

DRIVER = "libcuda.so.1"

_NAME_BYTES = 256


def find_gpus(load: Callable[[str], Any] = ctypes.CDLL) -> tuple[Gpu, ...]:
    """At least one, in the driver's order, of those that `CUDA_VISIBLE_DEVICES` lets this process see.

    Raises `ModelNotReady` with what is missing. `load` stands in for the dynamic linker.
    """
    try:
        driver = load(DRIVER)
    except OSError as error:
        raise ModelNotReady(
            f"there is no NVIDIA driver here ({first_line(error)}); run on a machine with a GPU, and in a container "
            "with the NVIDIA runtime"
        ) from error
    _demand(driver, "cuInit", driver.cuInit(0))
    count = ctypes.c_int()
    _demand(driver, "cuDeviceGetCount", driver.cuDeviceGetCount(ctypes.byref(count)))
    if not count.value:
        raise ModelNotReady("the NVIDIA driver shows no GPU to this process; look at CUDA_VISIBLE_DEVICES")
    return tuple(_gpu(driver, ordinal) for ordinal in range(count.value))


def _gpu(driver: Any, ordinal: int) -> Gpu:
    device, name, size = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES), ctypes.c_size_t()
    _demand(driver, "cuDeviceGet", driver.cuDeviceGet(ctypes.byref(device), ordinal))
    _demand(driver, "cuDeviceGetName", driver.cuDeviceGetName(name, _NAME_BYTES, device))
    _demand(driver, "cuDeviceTotalMem", driver.cuDeviceTotalMem_v2(ctypes.byref(size), device))
    return Gpu(name.value.decode(errors="replace"), size.value)


def _demand(driver: Any, call: str, status: int) -> None:
    if status:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(status, ctypes.byref(text))
        told = (text.value or b"unknown error").decode(errors="replace")
        raise ModelNotReady(f"the NVIDIA driver can't be used: {call} says {status}, {told}")
