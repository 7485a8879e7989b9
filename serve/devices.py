"""What of CPUs, GPUs and other resources a version asks for, and the device that a replica of it has got.

Plain data, and the decision between CPU and GPU. Where replicas are placed is `serve/control/placement.py`'s, how a
runtime uses its device the runtime's.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from model_store.errors import ModelNotReady

OptionValue = str | int | float | bool

GPU_RUNTIMES = frozenset({"onnx", "pytorch", "handler"})
"""Runtimes that can compute on a GPU; the others are run on CPUs wherever they are."""

UNASKED = "serve.gpus is 0"


class Provider(msgspec.Struct, frozen=True):
    """An execution provider of ONNX Runtime, `cuda`, `tensorrt` or `cpu`, with options in its own words."""

    name: str
    options: dict[str, OptionValue] = {}


class DeviceOptions(msgspec.Struct, frozen=True):
    """What a version asks for beside CPUs. `gpus` is a fraction of one, or a whole number of them, for each replica;
    `resources` and `accelerator_type` are Ray's, for placement only."""

    device: str = "auto"
    gpus: float = 0
    providers: tuple[Provider, ...] = ()
    gpu_memory_mib: int | None = None
    resources: dict[str, float] = {}
    accelerator_type: str | None = None


class Gpu(msgspec.Struct, frozen=True):
    """A GPU as its driver tells of it."""

    name: str
    memory_bytes: int


class Device(msgspec.Struct, frozen=True):
    """Where a replica computes. `reason` says why it is not on a GPU that could have been; `visible` are the GPUs that
    Ray gave it, as `CUDA_VISIBLE_DEVICES` lists them; `memory_bytes` is the most that it may take of the first one."""

    kind: str = "cpu"
    reason: str | None = None
    visible: str = ""
    providers: tuple[Provider, ...] = ()
    memory_bytes: int | None = None
    total_bytes: int = 0


CPU = Device()


def choose_device(
    asked: DeviceOptions,
    runtime: str,
    find: Callable[[], tuple[Gpu, ...]],
    check: Callable[[Device], None],
    visible: str = "",
) -> Device:
    """The device for a replica that was given the GPUs `visible`.

    `find` gives the GPUs and `check` tries the device with the runtime; either raises `ModelNotReady` with what is
    missing. With `device: auto` that is the reason why the CPU is taken, with `device: cuda` it is raised.
    """
    if asked.device == "cpu":
        return Device(providers=_of_cpu(asked), visible=visible)
    if not asked.gpus:
        return Device(reason=UNASKED, providers=_of_cpu(asked), visible=visible)
    try:
        if runtime not in GPU_RUNTIMES:
            raise ModelNotReady(f"the runtime {runtime!r} computes on CPUs only; leave out serve.gpus")
        device = _on_gpu(asked, find()[0], visible)
        check(device)
    except ModelNotReady as error:
        if asked.device == "cuda":
            raise ModelNotReady(f"expected a CUDA device, as serve.device says 'cuda': {error.message}") from error
        return Device(reason=error.message, providers=_of_cpu(asked), visible=visible)
    return device


def _on_gpu(asked: DeviceOptions, gpu: Gpu, visible: str) -> Device:
    limit = None
    if asked.gpu_memory_mib is not None:
        limit = asked.gpu_memory_mib * 2**20
    elif asked.gpus < 1:
        limit = int(asked.gpus * gpu.memory_bytes)
    providers = asked.providers or (Provider("cuda"),)
    return Device("cuda", None, visible, providers, limit, gpu.memory_bytes)


def _of_cpu(asked: DeviceOptions) -> tuple[Provider, ...]:
    return tuple(provider for provider in asked.providers if provider.name == "cpu")


def unlike_default(options: DeviceOptions) -> str:
    """What is asked for as text, that differs when replicas have to be others; empty for nothing."""
    return "" if options == DeviceOptions() else f"/{msgspec.json.encode(options, order='deterministic').decode()}"
