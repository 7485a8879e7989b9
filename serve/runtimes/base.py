"""What a runtime is, and the table of them. A runtime's library is imported when its class is first needed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol

from model_store.errors import ModelNotReady
from model_store.manifest import Manifest
from serve.inference import Tensors


class Runtime(Protocol):
    """A loaded version. `run` may be called from any thread, several at once."""

    def run(self, inputs: Tensors) -> Tensors:
        """All outputs of the default signature for one batch, in the signature's order."""


RUNTIMES = {"onnx": "serve.runtimes.onnx:OnnxRuntime"}
"""Name in a manifest -> where its class is. The class takes (folder, manifest, threads)."""


def load_runtime(folder: Path, manifest: Manifest, threads: int) -> Runtime:
    """The version whose files lie in `folder`, ready to run on `threads` CPU threads.

    Raises `ModelNotReady` when the manifest names a runtime that this release does not have.
    """
    if manifest.runtime not in RUNTIMES:
        known = ", ".join(sorted(RUNTIMES))
        raise ModelNotReady(f"version needs the runtime {manifest.runtime!r}; this release has: {known}")
    module, name = RUNTIMES[manifest.runtime].split(":")
    runtime: Runtime = getattr(import_module(module), name)(folder, manifest, threads)
    return runtime
