"""TorchScript modules: what `forward` takes, called with arrays, and what they do besides computing.

Reading one from disk is `loading.py`'s, writing it as ONNX `capture.py`'s and `onnx_export.py`'s.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from converters.base import Arrays
from converters.pytorch.arguments import Arrangement, Parameter, arrange
from converters.pytorch.names import apart, named_leaves
from converters.pytorch.ranges import PASSING
from converters.pytorch.tensors import to_array, to_tensor
from model_store.errors import ConversionError


def parameters_of(script: Any) -> list[Parameter]:
    """The parameters of `forward`, in order, `self` left out."""
    if not hasattr(script, "forward"):
        raise ConversionError("the TorchScript module has no method `forward`; save one that has it")
    arguments = script.forward.schema.arguments[1:]
    return [Parameter(each.name, not each.has_default_value(), str(each.type)) for each in arguments]


_CHANGES_LIST = frozenset({"append", "extend", "insert", "pop", "clear", "remove", "Delete", "_set_item", "update"})


def keeps_state(script: Any) -> bool:
    """Whether a call may change what the module holds: its attributes are written, or changed in place.

    Looked for in the frozen graph, which has lost what only happens in training.
    """
    import torch

    try:
        graph = torch.jit.freeze(script).graph
        torch._C._jit_pass_inline(graph)
    except RuntimeError:  # what can't be frozen may well keep state
        return True
    return any(_changes_attribute(node) for node in _nodes(graph))


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _changes_attribute(node: Any) -> bool:
    kind = node.kind().partition("::")[2]
    if kind == "SetAttr":
        return True
    in_place = kind in _CHANGES_LIST or (kind.endswith("_") and not kind.endswith("__"))
    if not in_place:
        return False
    value = next(iter(node.inputs()))
    while value.node().kind().partition("::")[2] in PASSING:
        value = next(iter(value.node().inputs()))
    return bool(value.node().kind() == "prim::GetAttr")


class ScriptCall:
    """A TorchScript module as a function from arrays to arrays. May be called from several threads.

    A module that keeps state answers each call as if it had just been loaded: an answer depends on its request alone.
    It computes on `device`, in PyTorch's words.
    """

    def __init__(self, script: Any, inputs: Sequence[str], device: str = "cpu") -> None:
        self._script = script if device == "cpu" else script.to(device)
        self._device = device
        self.arrangement: Arrangement = arrange(parameters_of(script), inputs)
        self.keeps_state = keeps_state(script)

    def fresh(self) -> Any:
        """The module, as it was loaded."""
        return copy.deepcopy(self._script) if self.keeps_state else self._script

    def named(self, result: Any) -> dict[str, Any]:
        """The leaves of what `forward` gave under their public names."""
        leaves = named_leaves(result)
        return dict(zip(apart(leaves, self.arrangement.inputs), leaves.values(), strict=True))

    def result(self, tensors: dict[str, Any]) -> Any:
        """What `forward` gives for tensors by input name. Raises `RuntimeError` in one line."""
        import torch

        try:
            with torch.no_grad():
                return self.fresh()(**self.arrangement.keywords(tensors))
        except RuntimeError as error:  # torch.jit.Error is one too
            raise RuntimeError(reason_of(error)) from error

    def __call__(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """The module's outputs for arrays by input name."""
        result = self.result({name: to_tensor(arrays[name]).to(self._device) for name in self.arrangement.inputs})
        return {name: to_array(leaf) for name, leaf in self.named(result).items()}


def reason_of(error: Exception) -> str:
    """Why a call failed. TorchScript puts the reason below a traceback of its own, PyTorch on the first line."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("RuntimeError:", "builtins.", "torch.jit.Error:"))]
    line = told[-1] if told else lines[0] if lines else type(error).__name__
    return line.removeprefix("RuntimeError: ").removeprefix("builtins.")[:300]
