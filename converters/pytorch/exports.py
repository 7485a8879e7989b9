"""What a PyTorch source offers a conversion: its answers, ONNX graphs of it, and files for the native runtime.

Programs of torch.export and TorchScript are here, modules with code of the user's in `modules.py`. Telling them apart
and making conversions of them is `converter.py`'s.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from converters.base import Arrays, ConversionOptions, Range
from converters.pytorch.declared import Draws, check_numbers, declared_inputs, measured_outputs
from converters.pytorch.native import PROGRAM_FILE, SCRIPT_FILE
from converters.pytorch.program import Program, ProgramCall
from converters.pytorch.ranges import named_ranges, program_ranges, script_ranges
from converters.pytorch.tensors import to_tensor
from model_store.errors import ConversionError, TrustRequired
from model_store.manifest import Signature, TensorSpec

NATIVE_FOLDER = "native"


class Export(Protocol):
    """One source, read."""

    signature: Signature
    """What the native runtime would be served with."""
    choices: Arrays
    keeps_state: bool

    @property
    def ranges(self) -> Mapping[str, Range]:
        """Where integer inputs may lie."""

    def answer(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """The source's own answer."""

    def graphs(self, workdir: Path) -> Iterator[Path]:
        """ONNX files, each in a folder of its own, in order of preference. Raises `ConversionError` at the end when
        none could be written."""

    def native(self, workdir: Path) -> Path:
        """The main file for the native runtime, in a folder of its own."""


class ProgramExport:
    """A `.pt2` archive: it says all of itself."""

    def __init__(self, source: Path, workdir: Path, *, trust: bool) -> None:
        from converters.pytorch.loading import load_program
        from converters.pytorch.pt2_archive import vet_archive

        self._file = _own_file(workdir, PROGRAM_FILE)
        vet_or_trust(vet_archive, source, self._file, trust=trust)
        self._program = load_program(self._file, source.name)
        self._call = ProgramCall(self._program)
        self.keeps_state = self._program.keeps_state
        self.signature = self._program.signature
        self.ranges: Mapping[str, Range] = ranges_of(self._program)
        self.choices: Arrays = {}

    def answer(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """The program's answer."""
        return self._call(arrays)

    def graphs(self, workdir: Path) -> Iterator[Path]:
        """The exporter's graph of the program, as it was captured; a dimension is dynamic when it was so there."""
        from converters.pytorch.onnx_export import export_program

        yield export_program(self._program, workdir / "onnx")

    def native(self, workdir: Path) -> Path:
        """The vetted archive."""
        return self._file


def ranges_of(program: Program) -> dict[str, Range]:
    """Where the program's integer inputs may lie."""
    return named_ranges(program.signature.inputs) | program_ranges(program.exported, program.inputs)


class ScriptExport:
    """A TorchScript archive: shapes of its inputs are the user's to say."""

    def __init__(self, source: Path, workdir: Path, options: ConversionOptions) -> None:
        from converters.pytorch.loading import load_script
        from converters.pytorch.script import ScriptCall, parameters_of
        from converters.pytorch.script_archive import vet_script

        self._file = _own_file(workdir, SCRIPT_FILE)
        vet_or_trust(vet_script, source, self._file, trust=options.trust)
        script = load_script(self._file, source.name)
        parameters = parameters_of(script)
        inputs = declared_inputs(options, f"source {source.name!r} is TorchScript, which", parameters)
        check_numbers(parameters, inputs)
        self._call = ScriptCall(script, [spec.name for spec in inputs])
        self.keeps_state = self._call.keeps_state
        sources = {
            argument.name: argument.inputs[0]
            for argument in self._call.arrangement.arguments
            if argument.shape == "tensor"
        }
        self.ranges: Mapping[str, Range] = named_ranges(inputs) | script_ranges(script, sources)
        self._draws = Draws(inputs, options, self.ranges)
        self._draws.fit(self._call, "the TorchScript module")
        self.choices: Arrays = self._draws.choices
        self.signature = Signature(inputs, measured_outputs(self._call, self._draws))

    def answer(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """The module's answer."""
        return self._call(arrays)

    def graphs(self, workdir: Path) -> Iterator[Path]:
        """Through torch.export, and where that fails or is wrong through the exporter that reads TorchScript."""
        from converters.pytorch.capture import capture_script, plain_script
        from converters.pytorch.onnx_export import export_program, export_script, most_telling

        tensors = self._tensors
        result = self._call.result(tensors)
        plain = plain_script(self._call.fresh(), self._call.arrangement, result)
        inputs = self._inputs_in_order
        values = [tensors[spec.name] for spec in inputs]
        outputs = self.signature.outputs
        failures: list[ConversionError] = []
        # torch.export takes numbers for constants, and what a call leaves behind for a change of weights.
        if not self._call.arrangement.numbers and not self.keeps_state:
            try:
                program = capture_script(plain, values, inputs)
                yield export_program(program, workdir / "onnx", inputs=inputs, outputs=[spec.name for spec in outputs])
            except ConversionError as error:
                failures.append(error)
        try:
            yield export_script(plain, tuple(values), inputs, outputs, workdir / "onnx-torchscript")
        except ConversionError as error:
            raise most_telling([*failures, error]) from None

    def native(self, workdir: Path) -> Path:
        """The vetted archive."""
        return self._file

    @cached_property
    def _tensors(self) -> dict[str, Any]:
        arrays = self._draws.draw(2, self._draws.sizes[0])
        return {name: to_tensor(array) for name, array in arrays.items()}

    @property
    def _inputs_in_order(self) -> list[TensorSpec]:
        specs = {spec.name: spec for spec in self.signature.inputs}
        return [specs[name] for name in self._call.arrangement.inputs]


def _own_file(workdir: Path, name: str) -> Path:
    folder = workdir / NATIVE_FOLDER
    folder.mkdir(exist_ok=True)
    return folder / name


def vet_or_trust(vet: Callable[[Path, Path], Path], source: Path, target: Path, *, trust: bool) -> None:
    """Writes the vetted archive; the source as it is only where it needs the trust that was given."""
    try:
        vet(source, target)
    except TrustRequired:
        if not trust:
            raise
        shutil.copyfile(source, target)
