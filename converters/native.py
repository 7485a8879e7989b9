"""Native runtimes: versions that are served in their source's own framework.

One class a framework, beside its converter, because the parity gate runs the very thing that a replica will serve.
`serve/runtimes/base.py` takes them from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

from converters.base import Arrays
from model_store.manifest import Signature


class NativeModel(Protocol):
    """A loaded native version. Its framework is imported when it is made."""

    def run(self, inputs: Arrays, signature: str) -> dict[str, np.ndarray]:
        """All outputs of one batch, in the signature's order. May be called from any thread, several at once."""


NATIVE_RUNTIMES: dict[str, str] = {
    "pytorch": "converters.pytorch.native:PyTorchModel",
    "tensorflow": "converters.tensorflow.native:TensorFlowModel",
    "sklearn": "converters.sklearn.native:SklearnModel",
    "boosting": "converters.boosting.native:BoostingModel",
}
"""Name in a manifest -> `module:class`; the class takes what `load_native` hands on."""


def load_native(
    runtime: str,
    folder: Path,
    signatures: Mapping[str, Signature],
    *,
    threads: int = 0,
    trusted: bool = False,
    device: str = "cpu",
) -> NativeModel:
    """The version whose files lie in `folder`, on `threads` CPU threads (0: the framework's own choice) and `device`,
    in the framework's words; only PyTorch knows others than `cpu`.

    `trusted` says that whoever published the version allowed its pickles to be loaded. Raises `TrustRequired` for a
    pickle without that, `ModuleNotFoundError` when the framework is not installed.
    """
    module, name = NATIVE_RUNTIMES[runtime].split(":")
    elsewhere = {} if device == "cpu" else {"device": device}
    model: NativeModel = getattr(import_module(module), name)(
        folder, signatures, threads=threads, trusted=trusted, **elsewhere
    )
    return model
