"""GPUs: the driver, and the CUDA libraries that ONNX Runtime needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from model_store.errors import ModelNotReady
from serve.cuda import find_gpus
from serve.devices import Device, Gpu, Provider
from serve.doctor.finding import Finding, ok, problem, warning

NVIDIA = Path("/dev/nvidiactl")
"""That the driver makes; a container without the NVIDIA runtime lacks it, too."""


def check_gpus(
    asked: tuple[str, ...] = (),
    find: Callable[[], tuple[Gpu, ...]] = find_gpus,
    try_cuda: Callable[[Device], None] | None = None,
    device_file: Path = NVIDIA,
) -> Iterator[Finding]:
    """`asked` are the models of the config that ask for a GPU, by name."""
    try:
        gpus = find()
    except ModelNotReady as error:
        if asked:
            names = ", ".join(asked)
            yield problem(
                "gpu", f"{error.message} (asked for by {names})", "or set serve.gpus: 0 and serve.device: cpu"
            )
        elif device_file.exists():
            yield warning("gpu", error.message, "the driver is there and can't be used: look at nvidia-smi")
        else:
            yield ok("gpu", "no GPU here: models compute on CPUs")
        return
    for gpu in gpus:
        yield ok("gpu", f"{gpu.name}, {gpu.memory_bytes >> 20} MiB")
    from serve.runtimes.onnx_providers import try_device

    try:
        (try_cuda or try_device)(Device("cuda", providers=(Provider("cuda"),)))
    except ModelNotReady as error:
        level = problem if asked else warning
        yield level(
            "gpu", error.message.partition(";")[0], error.message.partition("; ")[2] or "install CUDA and cuDNN"
        )
    else:
        yield ok("gpu", "ONNX Runtime has its CUDA provider")
