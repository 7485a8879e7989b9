"""From TorchScript and modules to programs of torch.export, and TorchScript made plain for the exporters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from converters.pytorch.arguments import Arrangement
from converters.pytorch.names import apart, named_leaves
from converters.pytorch.onnx_export import quiet, why
from converters.pytorch.program import Program
from model_store.errors import ConversionError
from model_store.manifest import TensorSpec


def dynamic_shapes(specs: Sequence[TensorSpec]) -> tuple[dict[int, Any], ...]:
    """Which dimensions torch.export may leave free: those declared as -1."""
    import torch

    free = torch.export.Dim.AUTO
    return tuple({axis: free for axis, size in enumerate(spec.shape) if size == -1} for spec in specs)


def capture_script(plain: Any, tensors: Sequence[Any], specs: Sequence[TensorSpec]) -> Program:
    """A plain script (see `plain_script`) as a program. Raises `ConversionError`."""
    import torch

    try:
        from torch._export.converter import TS2EPConverter
    except ImportError as error:
        raise ConversionError("this PyTorch has no converter from TorchScript to torch.export") from error
    try:
        with quiet(), torch.no_grad():
            first = TS2EPConverter(plain, tuple(tensors)).convert()
            # The converter frees every dimension that it can; free are those that the user declared so.
            exported = torch.export.export(
                first.module(), tuple(tensors), dynamic_shapes=dynamic_shapes(specs), strict=False
            )
    except Exception as error:
        raise ConversionError(f"torch.export does not take the TorchScript module: {why(error)}") from error
    return _as_free(Program(exported), specs)


def _as_free(program: Program, specs: Sequence[TensorSpec]) -> Program:
    """The program; raises `ConversionError` where torch.export fixed a dimension that is declared dynamic."""
    for found, wanted in zip(program.signature.inputs, specs, strict=True):
        for axis, size in enumerate(wanted.shape):
            if size == -1 and found.shape[axis] != -1:
                raise ConversionError(
                    f"torch.export fixes dimension {axis} of input {wanted.name!r} at {found.shape[axis]}, which is "
                    "declared dynamic"
                )
    return program


def named_module(module: Any, arrangement: Arrangement) -> Any:
    """The module with tensors in the order of `arrangement` as arguments, and a dict of its named outputs."""
    import torch

    class Named(torch.nn.Module):  # type: ignore[misc] # PyTorch's types are not followed
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *tensors: Any) -> dict[str, Any]:
            inputs = dict(zip(arrangement.inputs, tensors, strict=True))
            leaves = named_leaves(self.module(**arrangement.keywords(inputs)))
            names = apart(leaves, inputs)
            return {
                name: leaf for name, leaf in zip(names, leaves.values(), strict=True) if isinstance(leaf, torch.Tensor)
            }

    return Named().eval()


def capture_module(named: Any, tensors: Sequence[Any], specs: Sequence[TensorSpec]) -> Program:
    """A `named_module` as a program. Raises `ConversionError`."""
    import torch

    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(named, tuple(tensors), dynamic_shapes=(dynamic_shapes(specs),), strict=False)
    except Exception as error:
        raise ConversionError(f"torch.export does not take the module: {why(error)}") from error
    return _as_free(Program(program), specs)


def traced(named: Any, tensors: Sequence[Any], names: Sequence[str]) -> Any:
    """A `named_module` as TorchScript, by running it once; `forward` takes `names`. Raises `ConversionError`."""
    import torch

    odd = [name for name in names if not name.isidentifier() or name == "self"]
    if odd:
        raise ConversionError(f"input {odd[0]!r} can't be an argument of TorchScript; name it otherwise")
    try:
        with quiet(), torch.no_grad():
            outer = _around(torch.jit.trace(named, tuple(tensors), strict=False, check_trace=False))
            arguments = ", ".join(names)
            outer.define(f"def forward(self, {arguments}):\n    return self.inner.forward({arguments})\n")
    except Exception as error:
        raise ConversionError(f"PyTorch can't trace the module: {why(error)}") from error
    return outer.eval()


def _around(script: Any) -> Any:
    """A TorchScript module without methods that holds `script` as `inner`."""
    import torch

    class Around(torch.nn.Module):  # type: ignore[misc] # PyTorch's types are not followed
        def __init__(self) -> None:
            super().__init__()
            self.inner = script

    return torch.jit.script(Around())


def plain_script(script: Any, arrangement: Arrangement, result: Any) -> Any:
    """A script around `script` that takes tensors alone, in the order of `arrangement`, and gives a tuple of the
    tensors and numbers in `result`, which is what `script` gave once.

    Both exporters stumble over optional arguments, dicts and nested tuples; this leaves none of them.
    """
    import torch  # noqa: F401 # `torch` in the code below is looked up in this frame

    outer = _around(script)
    names = [f"t{index}" for index in range(len(arrangement.inputs))]
    by_input = dict(zip(arrangement.inputs, names, strict=True))
    kinds = {each.name: str(each.type) for each in script.forward.schema.arguments}
    call = ", ".join(
        f"{argument.name}={_expression(argument, by_input, kinds[argument.name])}" for argument in arrangement.arguments
    )
    leaves = [f"    o{index} = {path}\n" for index, path in enumerate(_paths(result, "r"))]
    outputs = ", ".join(f"o{index}" for index in range(len(leaves)))
    code = (
        f"def forward(self, {', '.join(f'{name}: Tensor' for name in names)}):\n"
        f"    r = self.inner.forward({call})\n{''.join(leaves)}    return {outputs}\n"
    )
    try:
        outer.define(code)
    except RuntimeError as error:
        raise ConversionError(
            f"what the TorchScript module takes or gives can't be written as a plain list of tensors: {why(error)}"
        ) from error
    return outer.eval()


def _expression(argument: Any, names: Mapping[str, str], kind: str) -> str:
    values = [names[each] for each in argument.inputs]
    if argument.shape == "dict":
        return "{" + ", ".join(f"{_text(key)}: {value}" for key, value in zip(argument.keys, values, strict=True)) + "}"
    if argument.shape == "list":
        return f"[{', '.join(values)}]"
    if argument.shape == "tuple":
        return f"({', '.join(values)},)"
    return f"{kind}({values[0]})" if argument.shape == "number" else values[0]


def _paths(value: Any, path: str) -> Iterator[str]:
    import torch

    if isinstance(value, torch.Tensor):
        yield path
    elif isinstance(value, float):
        yield f"torch.tensor({path}, dtype=torch.float64)"
    elif isinstance(value, bool | int):
        yield f"torch.tensor({path})"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _paths(item, f"{path}[{_text(key)}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _paths(item, f"{path}[{index}]")


def _text(key: Any) -> str:
    if isinstance(key, int):
        return str(key)
    if not isinstance(key, str) or not key.isprintable() or '"' in key or "\\" in key:
        raise ConversionError(f"the key {key!r} of a dict can't be written in TorchScript")
    return f'"{key}"'
