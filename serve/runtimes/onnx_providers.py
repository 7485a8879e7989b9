"""ONNX Runtime's execution providers for a device, and the proof that a session has them.

Where a provider can't be loaded, ONNX Runtime goes on with the CPU and says so in a log line only: here that is an
error.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime

from model_store.errors import ModelNotReady, first_line
from serve.devices import Device, OptionValue

PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Name in the config -> ONNX Runtime's."""

WHAT_TO_DO = (
    "ONNX Runtime needs CUDA and cuDNN of the versions that it was built for: pip install 'onnxruntime-gpu[cuda,cudnn]'"
)


def session_providers(device: Device, sessions: int = 1) -> list[tuple[str, dict[str, str]]]:
    """Providers with options, in order, for each of `sessions` sessions that share the device's memory limit."""
    found = [
        (PROVIDERS[each.name], _options(each.name, device, sessions) | _text(each.options)) for each in device.providers
    ]
    if all(name != PROVIDERS["cpu"] for name, _ in found):
        # Takes the nodes that no other provider has.
        found.append((PROVIDERS["cpu"], {}))
    return found


def _options(name: str, device: Device, sessions: int) -> dict[str, str]:
    """Where the config says nothing else."""
    options: dict[str, str] = {}
    if name == "cuda":
        # Products of float32 with 10 bits of mantissa are none that the parity gate has seen.
        options["use_tf32"] = "0"
        if device.memory_bytes is not None:
            options["gpu_mem_limit"] = str(device.memory_bytes // sessions)
            # By default the arena doubles, past what another replica of the GPU has been promised.
            options["arena_extend_strategy"] = "kSameAsRequested"
    return options


def _text(options: dict[str, OptionValue]) -> dict[str, str]:
    return {key: str(int(value)) if isinstance(value, bool) else str(value) for key, value in options.items()}


def require_providers(session: Any, device: Device) -> None:
    """Raises `ModelNotReady` when the session lacks a provider that the device has, with what the linker says of it."""
    present = session.get_providers()
    for provider in device.providers:
        if PROVIDERS[provider.name] not in present:
            raise ModelNotReady(
                f"ONNX Runtime {onnxruntime.__version__} can't load its provider {provider.name!r} "
                f"({_why_absent(provider.name)}); {WHAT_TO_DO}"
            )


def _why_absent(name: str) -> str:
    """Asked after ONNX Runtime has failed, so that nothing is loaded that it has not tried to load."""
    if PROVIDERS[name] not in onnxruntime.get_available_providers():
        return "this build of it has none"
    library = Path(onnxruntime.__file__).parent / "capi" / f"libonnxruntime_providers_{name}.so"
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return first_line(error)
    return "its log says more"


def try_device(device: Device) -> None:
    """Opens a session of one node with the device's providers. Raises `ModelNotReady` with what is missing."""
    load_cuda_libraries()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        # Without its own fallback, which would print, and take the CPU.
        session = onnxruntime.InferenceSession(
            _one_node(), options, providers=session_providers(device), enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise ModelNotReady(
            f"ONNX Runtime {onnxruntime.__version__} can't use the GPU: {first_line(error)}; {WHAT_TO_DO}"
        ) from error
    require_providers(session, device)


@cache
def load_cuda_libraries() -> None:
    """Once a process: loads CUDA and cuDNN from Python packages where the system has none."""
    import contextlib
    import io

    # It prints what it does not find; what is missing is told by `try_device`.
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()


def _one_node() -> bytes:
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
