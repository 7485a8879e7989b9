"""What a translated model is compared with: its operators in numpy, or a real MXNet."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from converters.base import Arrays, ConversionOptions, Run
from converters.graph import open_session
from converters.mxnet.binding import Binding
from converters.mxnet.files import ModelFiles
from converters.mxnet.model import write_model
from converters.mxnet.model_file import write_model_file
from converters.mxnet.params import Parameters
from converters.mxnet.reference.decisions import Translated, entries_that_decide
from converters.mxnet.reference.interpreter import Interpreter, unseconded
from converters.precision import TOLERANCES
from model_store.datatypes import DTYPES
from model_store.manifest import TensorSpec

CASTS = frozenset(("Cast", "amp_cast"))


_QUANTISED = "_contrib_quantize"


def precision_of(binding: Binding, parameters: Parameters, specs: list[TensorSpec]) -> str:
    """`float16` for a model that rounds inside, to float16 or to integers: a value on the edge falls either way, and
    what follows differs by a step; else `float32`."""
    dtypes = {parameters.dtype(key) for key in binding.parameters.values()} | {DTYPES[s.datatype] for s in specs}
    rounds = any(
        node.op.startswith(_QUANTISED) or (node.op in CASTS and node.attrs.dtype("dtype", None) == np.float16)
        for node in binding.graph.nodes
    )
    return "float16" if rounds or np.dtype(np.float16) in dtypes else "float32"


class Evidence:
    """The reference of one model. Nothing is loaded before the first call."""

    def __init__(
        self,
        files: ModelFiles,
        binding: Binding,
        parameters: Parameters,
        specs: list[TensorSpec],
        outputs: tuple[TensorSpec, ...],
    ) -> None:
        self._files = files
        self._binding = binding
        self._parameters = parameters
        self._specs = specs
        self._names = [spec.name for spec in outputs]

    def reference(self, options: ConversionOptions, workdir: Path) -> tuple[Run, str]:
        """The reference as a function, and its name for the report. Raises `ConfigError` where `against_mxnet` is no
        Python with MXNet."""
        if options.against_mxnet is not None:
            from converters.mxnet.real import RealMXNet

            real = RealMXNet(options.against_mxnet, self._files, self._names)
            return real.run, f"mxnet {real.version}"
        return self._in_numpy(options, workdir), _described(unseconded(self._binding.graph))

    def _in_numpy(self, options: ConversionOptions, workdir: Path) -> Run:
        @cache
        def interpreter() -> Interpreter:
            rtol = options.rtol or TOLERANCES["float32"].rtol
            return Interpreter(self._binding, self._parameters.__getitem__, self._translated(workdir), rtol)

        def run(inputs: Arrays) -> dict[str, np.ndarray]:
            return interpreter().run(inputs, self._names)

        return run

    def _translated(self, workdir: Path) -> Translated | None:
        """The translated graph, giving what its deciding operators read; None where it has none."""
        entries = entries_that_decide(self._binding.graph)
        if not entries:
            return None
        written = write_model(self._binding, self._parameters, self._specs, entries)
        path = write_model_file(written.model, written.weights, workdir / "deciding")
        # Without an arena, which would keep what the largest batch took while numpy needs the memory.
        session = open_session(path, arena=False)
        names = [spec.name for spec in written.outputs]
        read = {arg.name for arg in session.get_inputs()}

        def run(inputs: Arrays) -> dict[tuple[int, int], np.ndarray]:
            feeds = {name: array for name, array in inputs.items() if name in read}
            return dict(zip(entries, session.run(names, feeds), strict=True))

        return run


def _described(missing: list[str]) -> str:
    """What the report says the model was compared with."""
    if not missing:
        return "MXNet's operators in numpy"
    return f"MXNet's operators in numpy (no second opinion on {', '.join(missing)})"
