"""Around a runtime whose graphs compute one batch only: requests are padded to it and split around it.

The parity gate has shown that padding changes no row (`converters/candidates.py`).
"""

from __future__ import annotations

from functools import partial

from converters.batch import by_batches
from model_store.manifest import Manifest
from serve.inference import Tensors
from serve.runtimes.base import Runtime, may_loop


class FixedBatchRuntime:
    """Any number of rows on a runtime that takes exactly `manifest.fixed_batch` at a time."""

    def __init__(self, runtime: Runtime, manifest: Manifest) -> None:
        self._default = manifest.default_signature
        self.may_loop = may_loop(runtime)
        self._runs = {
            name: by_batches(partial(runtime.run, signature=name), manifest.fixed_batch[name])
            if name in manifest.fixed_batch
            else partial(runtime.run, signature=name)
            for name in manifest.signatures
        }

    def run(self, inputs: Tensors, signature: str | None = None) -> Tensors:
        """All outputs of a signature, as many rows as the inputs have."""
        return self._runs[signature or self._default](inputs)
