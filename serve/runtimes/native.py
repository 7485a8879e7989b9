"""The runtimes of the frameworks themselves: `pytorch`, `tensorflow`, `sklearn`, `boosting`.

The models are `converters/native.py`'s, which the parity gate has run; here their errors become the server's.
"""

from __future__ import annotations

from pathlib import Path

from converters.native import load_native
from model_store.errors import InvalidInput, ModelNotReady, first_line
from model_store.manifest import Manifest
from serve.devices import CPU, Device
from serve.inference import Tensors

EXTRAS = {"pytorch": "torch"}
"""Runtime -> extra of the distribution, where the two differ in name."""
VALUES_REFUSED = ("InvalidArgumentError", "NotFittedError")
"""Errors of TensorFlow and scikit-learn that speak of the values, by name as their libraries aren't imported here."""


class NativeRuntime:
    """A version in its source's own framework, on `threads` CPU threads and the device."""

    def __init__(self, folder: Path, manifest: Manifest, threads: int, device: Device = CPU) -> None:
        self._default = manifest.default_signature
        try:
            self._model = load_native(
                manifest.runtime,
                folder,
                manifest.signatures,
                threads=threads,
                trusted=manifest.trusted,
                device=device.kind,
            )
        except ModuleNotFoundError as error:
            extra = EXTRAS.get(manifest.runtime, manifest.runtime)
            raise ModelNotReady(
                f"version {manifest.version} of {manifest.name!r} runs in {manifest.runtime}, and the library "
                f"{error.name!r} is not installed here: pip install 'onegate[{extra}]'"
            ) from error

    def run(self, inputs: Tensors, signature: str | None = None) -> Tensors:
        """All outputs of a signature for one batch; raises `InvalidInput` for values that the model refuses."""
        try:
            return self._model.run(inputs, signature or self._default)
        except Exception as error:
            if isinstance(error, ValueError | IndexError | TypeError) or type(error).__name__ in VALUES_REFUSED:
                line = first_line(error)
                raise InvalidInput(f"the model refuses these values: {line}") from error
            raise
