"""Modules whose class is Python code: a state dict with the factory of its module, and a pickled module.

Their class is met at conversion only: what is served is a program of torch.export, or a trace of TorchScript.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Arrays, ConversionOptions, Range
from converters.pytorch.arguments import Parameter, arrange
from converters.pytorch.capture import capture_module, named_module, traced
from converters.pytorch.declared import Draws, declared_inputs, measured_outputs
from converters.pytorch.exports import NATIVE_FOLDER, ranges_of, vet_or_trust
from converters.pytorch.native import PROGRAM_FILE, SCRIPT_FILE
from converters.pytorch.onnx_export import quiet
from converters.pytorch.program import Program
from converters.pytorch.pt2_archive import vet_archive
from converters.pytorch.ranges import named_ranges
from converters.pytorch.script import ScriptCall
from converters.pytorch.tensors import to_array, to_tensor
from converters.user_code import first_on_path, import_named
from model_store.errors import ConfigError, ConversionError, SourceError
from model_store.manifest import Signature, TensorSpec

_NESTED_KEYS = ("state_dict", "model_state_dict", "model", "net", "module", "params", "ema", "weights")
"""Where training scripts keep the weights in a larger checkpoint."""
_PREFIXES = ("module.", "_orig_mod.", "model.")
"""What wrappers for several devices, torch.compile and training frameworks put before the names of weights."""
_NUMBERS = {int: "int", float: "float", bool: "bool"}


def module_of_weights(weights: Any, options: ConversionOptions, source_name: str) -> Any:
    """The module that `options.module` makes, holding the weights.

    Raises `ConfigError` where `module` is missing or makes no module, `SourceError` where the weights do not fit it.
    """
    if options.module is None:
        raise ConfigError(
            f"source {source_name!r} holds weights without the module that they belong to: write "
            "`module: package.module:factory` in the config, whose call without arguments gives the module, or export "
            "the model with torch.export.save"
        )
    module = _made_by(options.module, options.code_folder)
    state = _state_dict(weights, source_name)
    wanted = set(module.state_dict())
    for prefix in _PREFIXES:
        if state and not wanted & set(state) and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise SourceError(
            f"source {source_name!r} does not fit the module of {options.module!r}: {_misfit(module, state, error)}"
        ) from error
    return module.eval()


def _made_by(path: str, code_folder: str | None) -> Any:
    import torch

    factory = import_named("module", path, code_folder)
    with first_on_path(code_folder):
        try:
            module = factory if isinstance(factory, torch.nn.Module) else factory()
        except Exception as error:
            raise ConfigError(f"module: calling {path!r} fails: {type(error).__name__}: {error}") from error
    if not isinstance(module, torch.nn.Module):
        raise ConfigError(f"module: {path!r} gives {type(module).__name__}; expected a torch.nn.Module")
    return module


def _state_dict(weights: Any, source_name: str) -> dict[str, Any]:
    import torch

    for candidate in (weights, *(weights.get(key) for key in _NESTED_KEYS if isinstance(weights, Mapping))):
        if isinstance(candidate, Mapping) and candidate:
            names = {str(name): value for name, value in candidate.items()}
            if all(isinstance(value, torch.Tensor) for value in names.values()):
                return names
    held = f"a dict of {', '.join(map(str, list(weights)[:5]))}" if isinstance(weights, Mapping) else type(weights)
    raise SourceError(f"source {source_name!r} holds {held}; expected a state dict: names of weights and tensors")


def _misfit(module: Any, state: Mapping[str, Any], error: RuntimeError) -> str:
    own = module.state_dict()
    missing, unknown = [name for name in own if name not in state], [name for name in state if name not in own]
    shapes = [
        f"{name} is {list(state[name].shape)} and should be {list(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    told = [
        f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
        if names
    ]
    return "; ".join(told) or str(error).splitlines()[0]


class ModuleExport:
    """A live module."""

    keeps_state = False

    def __init__(self, module: Any, source_name: str, options: ConversionOptions) -> None:
        self._trust = options.trust
        parameters = _parameters_of(module)
        inputs = declared_inputs(options, f"source {source_name!r}", parameters)
        arrangement = arrange(parameters, [spec.name for spec in inputs])
        if arrangement.numbers:
            raise ConversionError(
                f"inputs: {arrangement.numbers[0]!r} is a number to the module; it takes tensors only"
            )
        specs = {spec.name: spec for spec in inputs}
        self._inputs = tuple(specs[name] for name in arrangement.inputs)
        self._named = named_module(module, arrangement)
        self._draws = Draws(self._inputs, options, _table_ranges(module, inputs) | named_ranges(inputs))
        self._draws.fit(self.answer, "the module")
        self.choices: Arrays = self._draws.choices
        self.signature = Signature(self._inputs, measured_outputs(self.answer, self._draws))

    def answer(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """The module's answer, as if it had just been made: buffers that a call changes are put back."""
        import torch

        before = [(buffer, buffer._version, buffer.clone()) for buffer in self._named.buffers()]
        with torch.no_grad():
            result = self._named(*(to_tensor(arrays[spec.name]) for spec in self._inputs))
            answers = {name: to_array(leaf).copy() for name, leaf in result.items()}
            for buffer, version, saved in before:
                if buffer._version != version:
                    buffer.copy_(saved)
        return answers

    @property
    def ranges(self) -> Mapping[str, Range]:
        """Those of the program; without one, masks only."""
        if isinstance(self._captured, Program):
            by_place = dict(zip(self._captured.inputs, (spec.name for spec in self._inputs), strict=True))
            found = {by_place[name]: span for name, span in ranges_of(self._captured).items()}
            return named_ranges(self._inputs) | found
        return named_ranges(self._inputs)

    def graphs(self, workdir: Path) -> Iterator[Path]:
        """Through torch.export, and where that fails or is wrong through a trace."""
        from converters.pytorch.capture import plain_script
        from converters.pytorch.onnx_export import export_program, export_script, most_telling

        outputs = self.signature.outputs
        failures: list[ConversionError] = []
        try:
            yield export_program(
                self._program(), workdir / "onnx", inputs=self._inputs, outputs=[spec.name for spec in outputs]
            )
        except ConversionError as error:
            failures.append(error)
        try:
            call = ScriptCall(self._script, [spec.name for spec in self._inputs])
            names = [spec.name for spec in self._inputs]
            result = call.result(dict(zip(names, self._tensors, strict=True)))
            plain = plain_script(self._script, call.arrangement, result)
            yield export_script(plain, tuple(self._tensors), self._inputs, outputs, workdir / "onnx-torchscript")
        except ConversionError as error:
            raise most_telling([*failures, error]) from None

    def native(self, workdir: Path) -> Path:
        """The captured program, or a trace where torch.export does not take the module or fixes its shapes."""
        import torch

        folder = workdir / NATIVE_FOLDER
        folder.mkdir(exist_ok=True)
        with quiet():
            if isinstance(self._captured, Program):
                captured = workdir / "captured.pt2"
                torch.export.save(self._captured.exported, captured)
                # Without the sample inputs, and held against what the server will hold it against.
                vet_or_trust(vet_archive, captured, folder / PROGRAM_FILE, trust=self._trust)
                return folder / PROGRAM_FILE
            torch.jit.save(self._script, folder / SCRIPT_FILE)
            return folder / SCRIPT_FILE

    def _program(self) -> Program:
        if isinstance(self._captured, ConversionError):
            raise self._captured
        return self._captured

    @cached_property
    def _captured(self) -> Program | ConversionError:
        try:
            return capture_module(self._named, self._tensors, self._inputs)
        except ConversionError as error:
            return error

    @cached_property
    def _script(self) -> Any:
        return traced(self._named, self._tensors, [spec.name for spec in self._inputs])

    @cached_property
    def _tensors(self) -> list[Any]:
        arrays = self._draws.draw(2, self._draws.sizes[0])
        return [to_tensor(arrays[spec.name]) for spec in self._inputs]


def _parameters_of(module: Any) -> list[Parameter]:
    """The parameters of `forward`; only numbers have a kind, as annotations of tensors are seldom exact."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [
        Parameter(each.name, each.default is each.empty, _NUMBERS.get(each.annotation, ""))
        for each in inspect.signature(module.forward).parameters.values()
        if each.kind in kinds
    ]


def _table_ranges(module: Any, inputs: Sequence[TensorSpec]) -> dict[str, Range]:
    """Integers small enough for every embedding of the module, for the calls before its graph is known."""
    import torch

    sizes = [each.num_embeddings for each in module.modules() if isinstance(each, torch.nn.Embedding)]
    return {spec.name: (0, min(sizes) - 1) for spec in inputs if sizes and "INT" in spec.datatype}
