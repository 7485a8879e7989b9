"""What a runtime is, and how one is found. A runtime's library is imported when its class is first needed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import msgspec

from converters.native import NATIVE_RUNTIMES
from model_store.errors import ModelNotReady
from model_store.manifest import PAYLOAD, Manifest
from serve.devices import CPU, Device
from serve.inference import Tensors


class Runtime(Protocol):
    """A loaded version. `run` may be called from any thread, several at once. One that holds more than memory of this
    process (a handler's child) has a `close` too, which may block; one whose graph has a loop says `may_loop`."""

    def run(self, inputs: Tensors, signature: str | None = None) -> Tensors:
        """All outputs of a signature for one batch, in the signature's order; None stands for the default one."""


def may_loop(runtime: Runtime) -> bool:
    """Whether values may decide how long a batch runs, for ever too: no event loop must run it."""
    return getattr(runtime, "may_loop", False)


RUNTIMES = {
    "onnx": "serve.runtimes.onnx:OnnxRuntime",
    **dict.fromkeys(NATIVE_RUNTIMES, "serve.runtimes.native:NativeRuntime"),
    "handler": "serve.runtimes.handler:HandlerRuntime",
}
"""Name in a manifest -> where its class is. The class takes (folder, manifest, threads, device)."""

DEVICE_TRIALS = {
    "onnx": "serve.runtimes.onnx_providers:try_device",
    "pytorch": "serve.runtimes.torch_device:try_device",
}
"""Name -> a function of a `Device` that raises `ModelNotReady` where the runtime can't compute there."""


def try_device(runtime: str, device: Device) -> None:
    """Raises `ModelNotReady` with what is missing when the runtime can't compute on the device."""
    if runtime in DEVICE_TRIALS:
        _class(DEVICE_TRIALS[runtime])(device)


def load_runtime(folder: Path, manifest: Manifest, threads: int, device: Device = CPU) -> Runtime:
    """The version whose files lie in `folder`, ready to run on `threads` CPU threads, and the device.

    Raises `ModelNotReady` when this release does not have the runtime that the manifest names, or its library is not
    installed.
    """
    if manifest.runtime not in RUNTIMES:
        known = ", ".join(sorted(RUNTIMES))
        raise ModelNotReady(f"version needs the runtime {manifest.runtime!r}; this release has: {known}")
    found: Runtime = _class(RUNTIMES[manifest.runtime])(folder, _of_tensors(manifest), threads, device)
    if manifest.runtime == "handler":
        return found
    if manifest.fixed_batch:
        found = _class("serve.runtimes.fixed_batch:FixedBatchRuntime")(found, _of_tensors(manifest))
    processing: Runtime = _class("serve.runtimes.processing:ProcessingRuntime")(found, manifest, threads)
    return processing


def _of_tensors(manifest: Manifest) -> Manifest:
    """As a runtime of tensors sees it: the processor in front of it answers the signature `payload`."""
    if manifest.runtime == "handler":
        return manifest
    signatures = {name: signature for name, signature in manifest.signatures.items() if name != PAYLOAD}
    return msgspec.structs.replace(manifest, signatures=signatures)


def _class(place: str) -> Any:
    module, name = place.split(":")
    return getattr(import_module(module), name)
