"""PyTorch as a runtime: programs of torch.export and TorchScript.

The same class answers for the source in the parity gate and for the version in a replica.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from converters.base import Arrays
from model_store.errors import SourceError
from model_store.manifest import Signature

PROGRAM_FILE = "model.pt2"
SCRIPT_FILE = "model.ts"

_threads_guard = threading.Lock()
_threads_of_process = 0


def use_threads(threads: int) -> None:
    """Sets PyTorch's CPU threads, which all models of a process share: the largest wish counts; 0 is none."""
    global _threads_of_process
    import torch

    with _threads_guard:
        if threads > _threads_of_process:
            _threads_of_process = threads
            torch.set_num_threads(threads)


class PyTorchModel:
    """A version whose folder holds `model.pt2` or `model.ts`.

    Both are vetted again when they are loaded, unless `trusted`. `device` is PyTorch's word for where it computes.
    Raises `TrustRequired` and `SourceError`.
    """

    def __init__(
        self,
        folder: Path,
        signatures: Mapping[str, Signature],
        *,
        threads: int = 0,
        trusted: bool = False,
        device: str = "cpu",
    ) -> None:
        from converters.pytorch.loading import load_program, load_script
        from converters.pytorch.program import ProgramCall
        from converters.pytorch.pt2_archive import check_archive
        from converters.pytorch.script import ScriptCall
        from converters.pytorch.script_archive import check_script

        use_threads(threads)
        self._names: dict[str, str] = {}
        program, script = folder / PROGRAM_FILE, folder / SCRIPT_FILE
        self._call: ProgramCall | ScriptCall
        if program.is_file():
            if not trusted:
                check_archive(program)
            loaded = load_program(program, program.name)
            # A program made of a module numbers its inputs; their order is the signature's.
            names = [spec.name for spec in next(iter(signatures.values())).inputs]
            self._names = dict(zip(loaded.inputs, names, strict=True)) if set(names) != set(loaded.inputs) else {}
            self._call = ProgramCall(loaded, device)
        elif script.is_file():
            if not trusted:
                check_script(script)
            signature = next(iter(signatures.values()))
            names = [spec.name for spec in signature.inputs]
            self._call = ScriptCall(load_script(script, script.name), names, device)
        else:
            raise SourceError(f"a PyTorch version holds {PROGRAM_FILE} or {SCRIPT_FILE}; this one has neither")
        self._outputs = {name: [spec.name for spec in each.outputs] for name, each in signatures.items()}

    @property
    def keeps_state(self) -> bool:
        """Whether the model changes itself when called, and is put back each time."""
        return self._call.keeps_state

    def run(self, inputs: Arrays, signature: str) -> dict[str, np.ndarray]:
        """All outputs of one batch, in the signature's order. May be called from any thread, several at once."""
        import torch

        with torch.inference_mode():
            answers = self._call({own: inputs[name] for own, name in self._names.items()} if self._names else inputs)
        return {name: answers[name] for name in self._outputs[signature]}
