"""NVML: what is asked and what is made of it. No test machine has the library; a stand-in answers as its page says."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

from serve.metrics.gpus import GpuUse, GpuWatch

SLICED = 6
"""NVML_ERROR_NOT_FOUND and others stand for what a GPU does not tell."""


def nvml(*, initialised: int = 0, utilisation: int = 0) -> Any:
    """Two GPUs, of which the second does not tell how busy it is where `utilisation` is an error."""

    def count(found: Any) -> int:
        found._obj.value = 2
        return 0

    def handle(index: ctypes.c_uint, device: Any) -> int:
        device._obj.value = index.value + 1
        return 0

    def uuid(device: ctypes.c_void_p, text: Any, size: ctypes.c_uint) -> int:
        text.value = f"GPU-{device.value}".encode()
        return 0

    def memory(device: ctypes.c_void_p, found: Any) -> int:
        found._obj.total, found._obj.used = 80, 20
        return 0

    def rates(device: ctypes.c_void_p, found: Any) -> int:
        found._obj.gpu = 75
        return utilisation if device.value == 2 else 0

    return SimpleNamespace(
        nvmlInit_v2=lambda: initialised,
        nvmlDeviceGetCount_v2=count,
        nvmlDeviceGetHandleByIndex_v2=handle,
        nvmlDeviceGetUUID=uuid,
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetUtilizationRates=rates,
    )


def test_every_gpu_tells_its_memory_and_how_busy_it_is() -> None:
    assert GpuWatch(lambda _: nvml()).look() == (GpuUse("GPU-1", 20, 80, 0.75), GpuUse("GPU-2", 20, 80, 0.75))


def test_one_that_does_not_answer_is_left_out() -> None:
    assert GpuWatch(lambda _: nvml(utilisation=SLICED)).look() == (GpuUse("GPU-1", 20, 80, 0.75),)


def test_without_the_library_or_a_driver_there_is_nothing_to_tell() -> None:
    def absent(name: str) -> Any:
        raise OSError(name)

    assert GpuWatch(absent).look() == ()
    assert GpuWatch(lambda _: nvml(initialised=9)).look() == ()
