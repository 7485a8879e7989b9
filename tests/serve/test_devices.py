"""Which device a replica takes: the GPU that it was given, or the CPU and why."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from model_store.errors import ModelNotReady
from serve.cuda import find_gpus
from serve.devices import Device, DeviceOptions, Gpu, Provider, choose_device

GIB = 2**30
T4 = Gpu("Tesla T4", 16 * GIB)


def no_driver() -> tuple[Gpu, ...]:
    raise ModelNotReady("there is no NVIDIA driver here")


def no_libraries(device: Device) -> None:
    raise ModelNotReady("libcublas is not there")


def chosen(
    asked: DeviceOptions, runtime: str = "onnx", find: Any = lambda: (T4,), check: Any = lambda device: None
) -> Device:
    return choose_device(asked, runtime, find, check, "3")


def test_a_whole_gpu_is_taken_without_limit() -> None:
    assert chosen(DeviceOptions(gpus=1)) == Device("cuda", None, "3", (Provider("cuda"),), None, 16 * GIB)


def test_a_fraction_of_a_gpu_has_the_fraction_of_its_memory() -> None:
    assert chosen(DeviceOptions(gpus=0.25)).memory_bytes == 4 * GIB


def test_the_limit_of_the_config_goes_before_the_fraction() -> None:
    assert chosen(DeviceOptions(gpus=0.25, gpu_memory_mib=1024)).memory_bytes == GIB
    assert chosen(DeviceOptions(gpus=1, gpu_memory_mib=1024)).memory_bytes == GIB


def test_providers_of_the_config_are_taken_in_order() -> None:
    asked = (Provider("tensorrt", {"trt_fp16_enable": True}), Provider("cuda"), Provider("cpu"))
    assert chosen(DeviceOptions(gpus=1, providers=asked)).providers == asked


@pytest.mark.parametrize(
    ("asked", "reason"), [(DeviceOptions(), "serve.gpus is 0"), (DeviceOptions(device="cpu"), None)]
)
def test_without_gpus_it_is_the_cpu_and_nothing_is_looked_for(asked: DeviceOptions, reason: str | None) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError

    device = choose_device(asked, "onnx", refuse, refuse)
    assert device == Device("cpu", reason)


@pytest.mark.parametrize(
    ("runtime", "parts", "reason"),
    [
        ("onnx", {"find": no_driver}, "there is no NVIDIA driver here"),
        ("onnx", {"check": no_libraries}, "libcublas is not there"),
        ("sklearn", {}, "the runtime 'sklearn' computes on CPUs only; leave out serve.gpus"),
    ],
)
def test_a_gpu_that_can_not_be_used_is_a_reason_or_an_error(runtime: str, parts: dict[str, Any], reason: str) -> None:
    providers = (Provider("cuda"), Provider("cpu", {"arena": True}))
    device = chosen(DeviceOptions("auto", 1, providers), runtime, **parts)
    assert (device.kind, device.reason, device.providers) == ("cpu", reason, providers[1:])
    with pytest.raises(ModelNotReady) as refused:
        chosen(DeviceOptions("cuda", 1, providers), runtime, **parts)
    assert refused.value.message == f"expected a CUDA device, as serve.device says 'cuda': {reason}"


class Driver:
    """Stands for the NVIDIA driver's library with these GPUs; `failing` is a call that says 100."""

    def __init__(self, *gpus: Gpu, failing: str | None = None) -> None:
        self._gpus = gpus
        self._failing = failing

    def __getattr__(self, call: str) -> Any:
        if call == self._failing:
            return lambda *_: 100
        return getattr(type(self), f"answer_{call}").__get__(self)

    def answer_cuInit(self, flags: int) -> int:  # noqa: N802  # the driver's own names
        return 0

    def answer_cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self._gpus)
        return 0

    def answer_cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        device._obj.value = ordinal
        return 0

    def answer_cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802
        name.value = self._gpus[device.value].name.encode()
        return 0

    def answer_cuDeviceTotalMem_v2(self, size: Any, device: Any) -> int:  # noqa: N802
        size._obj.value = self._gpus[device.value].memory_bytes
        return 0

    def answer_cuGetErrorString(self, status: int, text: Any) -> int:  # noqa: N802
        ctypes.cast(text, ctypes.POINTER(ctypes.c_char_p))[0] = b"no CUDA-capable device is detected"
        return 0


def test_the_driver_tells_of_its_gpus() -> None:
    gpus = (T4, Gpu("NVIDIA A100", 80 * GIB))
    assert find_gpus(lambda _: Driver(*gpus)) == gpus


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        (
            Driver(T4, failing="cuInit"),
            "the NVIDIA driver can't be used: cuInit says 100, no CUDA-capable device is detected",
        ),
        (Driver(), "the NVIDIA driver shows no GPU to this process; look at CUDA_VISIBLE_DEVICES"),
    ],
)
def test_a_driver_without_gpus_says_why(driver: Driver, message: str) -> None:
    with pytest.raises(ModelNotReady) as refused:
        find_gpus(lambda _: driver)
    assert refused.value.message == message


def test_a_machine_without_driver_is_told_by_the_linker_s_words() -> None:
    def load(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")

    with pytest.raises(ModelNotReady) as refused:
        find_gpus(load)
    assert refused.value.message == (
        "there is no NVIDIA driver here (libcuda.so.1: cannot open shared object file: No such file or directory); "
        "run on a machine with a GPU, and in a container with the NVIDIA runtime"
    )
