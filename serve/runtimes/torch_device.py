"""PyTorch on the GPU that a replica was given: whether it can be used, and how much of its memory."""

from __future__ import annotations

from model_store.errors import ModelNotReady, first_line
from serve.devices import Device


def try_device(device: Device) -> None:
    """Computes one sum on the GPU, and bounds what this process takes of its memory.

    Raises `ModelNotReady` with what is missing.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModelNotReady("PyTorch is not installed here: pip install 'onegate[torch]'") from error
    if torch.version.cuda is None:
        raise ModelNotReady(f"PyTorch {torch.__version__} is built without CUDA; install a build that has it")
    try:
        if device.memory_bytes is not None and device.total_bytes:
            torch.cuda.set_per_process_memory_fraction(min(1.0, device.memory_bytes / device.total_bytes))
        torch.ones(1, device="cuda").sum().item()
    except (RuntimeError, AssertionError) as error:
        raise ModelNotReady(
            f"PyTorch {torch.__version__}, built for CUDA {torch.version.cuda}, can't use the GPU: {first_line(error)}"
        ) from error
