"""Programs of torch.export: what goes in and comes out, called with arrays, and written as ONNX.

Loading is `loading.py`'s, the exporter's own quirks are `onnx_export.py`'s.
"""

from __future__ import annotations

import copy
import dataclasses
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from converters.base import Arrays
from converters.pytorch.names import apart, leaf_names
from converters.pytorch.ranges import placeholder_of
from converters.pytorch.tensors import datatype_of, to_array, to_tensor
from model_store.errors import ConversionError
from model_store.manifest import Signature, TensorSpec


@dataclass(frozen=True)
class Program:
    """An `ExportedProgram` with public names."""

    exported: Any

    @cached_property
    def input_specs(self) -> list[Any]:
        """The arguments of the flat inputs in calling order, constants among them."""
        return [spec.arg for spec in self.exported.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]

    @cached_property
    def output_specs(self) -> list[Any]:
        """The arguments of the flat outputs, constants among them."""
        return [spec.arg for spec in self.exported.graph_signature.output_specs if spec.kind.name == "USER_OUTPUT"]

    @cached_property
    def inputs(self) -> list[str]:
        """Public names of the inputs: those of the program's placeholders."""
        return [arg.name for arg in self.input_specs if _is_public(arg)]

    @cached_property
    def outputs(self) -> dict[int, str]:
        """Public names of the outputs by their place among the flat ones; constants have none."""
        names = leaf_names(self.exported.call_spec.out_spec)
        if len(names) != len(self.output_specs):
            names = [f"output_{index}" for index in range(len(self.output_specs))]
        names = apart(names, self.inputs)
        return {place: names[place] for place, arg in enumerate(self.output_specs) if _is_public(arg)}

    @cached_property
    def signature(self) -> Signature:
        """What the program itself says of its tensors; symbolic sizes are -1."""
        values = {node.name: node.meta.get("val") for node in self.exported.graph.nodes}
        return Signature(
            inputs=tuple(_spec(name, values[name]) for name in self.inputs),
            outputs=tuple(
                _spec(public, values[self.output_specs[place].name]) for place, public in self.outputs.items()
            ),
        )

    @property
    def keeps_state(self) -> bool:
        """Whether a call changes the program's own buffers.

        The signature names them once the program is functional; what torch.export gives at first has operators that
        work in place.
        """
        signature = self.exported.graph_signature
        own = {spec.arg.name for spec in signature.input_specs if spec.kind.name != "USER_INPUT"}
        return bool(signature.buffers_to_mutate) or any(
            node.op == "call_function"
            and getattr(getattr(node.target, "_schema", None), "is_mutable", False)
            and placeholder_of(node.args[0]) in own
            for node in self.exported.graph.nodes
        )


def _is_public(arg: Any) -> bool:
    return type(arg).__name__ in ("TensorArgument", "SymIntArgument", "SymFloatArgument", "SymBoolArgument")


def _spec(name: str, value: Any) -> TensorSpec:
    kind = type(value).__name__
    if not hasattr(value, "shape"):
        datatypes = {"SymInt": "INT64", "int": "INT64", "SymFloat": "FP64", "SymBool": "BOOL"}
        if kind not in datatypes:
            raise ConversionError(f"{name!r} of the program is {kind}, not a tensor; export it with tensors only")
        return TensorSpec(name, datatypes[kind], ())
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    return TensorSpec(name, datatype_of(value.dtype, name), shape)


class ProgramCall:
    """A program as a function from arrays to arrays. May be called from several threads.

    A program that changes its own buffers is put back to what was saved after each call: an answer depends on its
    request alone. It computes on `device`, in PyTorch's words.
    """

    def __init__(self, program: Program, device: str = "cpu") -> None:
        self._program = program = _moved(program, device)
        self._device = device
        self.keeps_state = program.keeps_state
        # Guards repeat what the signature says, and refuse a batch of one where two were seen.
        self._module = program.exported.module(check_guards=False)
        self._lock = threading.Lock() if program.keeps_state else None
        self._saved = (
            {name: buffer.clone() for name, buffer in self._module.named_buffers()} if program.keeps_state else {}
        )

    def __call__(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """The program's outputs for arrays by input name."""
        import torch

        leaves = [self._leaf(arg, arrays) for arg in self._program.input_specs]
        args, kwargs = torch.utils._pytree.tree_unflatten(leaves, self._program.exported.call_spec.in_spec)
        with torch.no_grad():
            if self._lock is None:
                result = self._module(*args, **kwargs)
            else:
                with self._lock:
                    result = self._module(*args, **kwargs)
                    for name, buffer in self._module.named_buffers():
                        buffer.copy_(self._saved[name])
        flat, _ = torch.utils._pytree.tree_flatten(result)
        return {name: to_array(flat[place]) for place, name in self._program.outputs.items()}

    def _leaf(self, arg: Any, arrays: Arrays) -> Any:
        if not _is_public(arg):
            return arg.value
        tensor = to_tensor(arrays[arg.name])
        return tensor.to(self._device) if type(arg).__name__ == "TensorArgument" else tensor.item()


def _moved(program: Program, device: str) -> Program:
    """The program with its weights, and the devices that its operators name, on `device`."""
    if device == "cpu":
        return program
    from torch.export.passes import move_to_device_pass

    return Program(move_to_device_pass(program.exported, device))


def without_constants(program: Program) -> Any:
    """The exported program with tensors as its only outputs, which is what the ONNX exporter takes: None, numbers and
    text that the model gives out unchanged are left out (torch 2.13 fails on them). The exporter gets a copy."""
    exported = program.exported
    if len(program.outputs) == len(program.output_specs):
        return exported
    import torch
    from torch.utils import _pytree

    graph_module = copy.deepcopy(exported.graph_module)
    output = next(node for node in graph_module.graph.nodes if node.op == "output")
    signature = copy.deepcopy(exported.graph_signature)
    specs = signature.output_specs
    first = next(index for index, spec in enumerate(specs) if spec.kind.name == "USER_OUTPUT")
    kept = [
        index for index, spec in enumerate(specs) if spec.kind.name != "USER_OUTPUT" or index - first in program.outputs
    ]
    output.args = (tuple(output.args[0][index] for index in kept),)
    signature.output_specs = [specs[index] for index in kept]
    graph_module.recompile()
    entry = exported.module_call_graph[0]
    flat_spec = _pytree.tree_flatten(tuple(range(len(program.outputs))))[1]
    call = dataclasses.replace(
        entry,
        signature=dataclasses.replace(
            entry.signature,
            outputs=[spec.arg for spec in signature.output_specs if spec.kind.name == "USER_OUTPUT"],
            out_spec=flat_spec,
        ),
    )
    return torch.export.ExportedProgram(
        root=graph_module,
        graph=graph_module.graph,
        graph_signature=signature,
        state_dict=exported.state_dict,
        range_constraints=exported.range_constraints,
        module_call_graph=[call],
        example_inputs=exported.example_inputs,
        constants=exported.constants,
    )
