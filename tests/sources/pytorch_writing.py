"""Writes a PyTorch network as users export it, and records what PyTorch itself answers at two batch sizes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.table import Built, Call, SourceCase, Tensors

BATCHES = (2, 5)


@dataclass(frozen=True)
class Net:
    """A module, arguments for a batch of any size, and which dimensions its user declares free."""

    module: Any
    arguments: Callable[[int], dict[str, Any]]
    """`forward`'s arguments by name (nested ones as they are) for a batch."""
    free: Mapping[str, Any] = field(default_factory=dict)
    """As torch.export's `dynamic_shapes` by argument; the first dimension of every tensor when it is empty."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What an output is called publicly, where that is not its own name."""
    batches: tuple[int, ...] = BATCHES


def flatten(value: Any, prefix: str, numbers: tuple[str, ...] = ()) -> Tensors:
    """Tensors of a nested value by name, written out independently of the converter's own rule."""
    import torch

    if isinstance(value, torch.Tensor):
        return {prefix or "output": array(value)}
    if value is None:
        return {}
    if isinstance(value, int):  # a number that the module gives out is a constant of its program
        return {prefix: np.asarray(value)} if prefix in numbers else {}
    if isinstance(value, Mapping):
        items = [(f"{prefix}_{key}" if prefix else str(key), item) for key, item in value.items()]
    else:
        items = [(f"{prefix or 'output'}_{index}", item) for index, item in enumerate(value)]
    return {name: leaf for key, item in items for name, leaf in flatten(item, key, numbers).items()}


def array(tensor: Any) -> np.ndarray:
    import ml_dtypes
    import torch

    if tensor.dtype == torch.bfloat16:
        return tensor.detach().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.detach().numpy()


def calls(net: Net) -> tuple[Call, ...]:
    import torch

    recorded = []
    for batch in net.batches:
        torch.manual_seed(batch)
        arguments = net.arguments(batch)
        with torch.no_grad():
            # A module may keep something of a call; each answer is that of a module that was just loaded.
            answer = copy.deepcopy(net.module)(**arguments)
        numbers = tuple(arguments)
        inputs = {name: leaf for key, value in arguments.items() for name, leaf in flatten(value, key, numbers).items()}
        outputs = {net.names.get(name, name): leaf for name, leaf in flatten(answer, "").items()}
        recorded.append(Call(inputs, outputs))
    return tuple(recorded)


def built(net: Callable[[], Net], folder: Path, write: Callable[[Net, Path], Path]) -> Built:
    import torch

    torch.manual_seed(0)
    made = net()
    made.module.eval()
    source = write(made, folder)
    return Built(source, calls(made))


def write_program(net: Net, folder: Path) -> Path:
    import torch

    arguments = net.arguments(net.batches[0])
    free = dict(net.free) if net.free or len(net.batches) == 1 else batch_only(arguments)
    program = torch.export.export(net.module, (), kwargs=arguments, dynamic_shapes=free or None, strict=False)
    torch.export.save(program, folder / "model.pt2")
    return folder / "model.pt2"


def batch_only(arguments: Any) -> Any:
    """`dynamic_shapes` that free the first dimension of every tensor."""
    import torch

    if isinstance(arguments, torch.Tensor):
        return {0: torch.export.Dim("batch", min=1, max=4096)}
    if isinstance(arguments, Mapping):
        return {key: batch_only(value) for key, value in arguments.items()}
    if isinstance(arguments, list | tuple):
        return type(arguments)(batch_only(value) for value in arguments)
    return None


def write_trace(net: Net, folder: Path) -> Path:
    import torch

    arguments = net.arguments(net.batches[0])
    script = torch.jit.trace(net.module, tuple(arguments.values()), strict=False, check_trace=False)
    torch.jit.save(script, folder / "model.pt")
    return folder / "model.pt"


def write_trace_without_gradients(net: Net, folder: Path) -> Path:
    """PyTorch then calls its fused operators for transformers."""
    import torch

    with torch.no_grad():
        return write_trace(net, folder)


def write_script(net: Net, folder: Path) -> Path:
    import torch

    torch.jit.save(torch.jit.script(net.module), folder / "model.pt")
    return folder / "model.pt"


def write_weights(net: Net, folder: Path) -> Path:
    import torch

    torch.save(net.module.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


def write_module(net: Net, folder: Path) -> Path:
    import torch

    torch.save(net.module, folder / "module.pth")
    return folder / "module.pth"


WRITERS = {
    "program": ("torch.export (.pt2)", write_program),
    "trace": ("TorchScript, traced", write_trace),
    "trace-no-grad": ("TorchScript, traced", write_trace_without_gradients),
    "script": ("TorchScript, scripted", write_script),
    "weights": ("state dict with `module`", write_weights),
    "module": ("pickled module, trusted", write_module),
}


def case(name: str, how: str, net: Callable[[], Net], **more: Any) -> SourceCase:
    """A row of the table: `pytorch-<name>`, written as `WRITERS[how]` says."""
    kind, write = WRITERS[how]
    inputs = more.pop("inputs", None)
    options = dict(more.pop("options", {}))
    if inputs is not None:
        options["inputs"] = inputs
    return SourceCase(
        name=f"pytorch-{name}",
        framework="pytorch",
        kind=kind,
        build=lambda folder: built(net, folder, write),
        options=options,
        **more,
    )
