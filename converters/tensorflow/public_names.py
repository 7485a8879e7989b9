"""Gives an ONNX graph of tf2onnx the public names and shapes of a signature, in its order."""

from __future__ import annotations

from typing import Any

from converters.graph import DATATYPES, rename, set_shape
from converters.tensorflow.signatures import GraphSignature
from model_store.errors import ConversionError
from model_store.manifest import TensorSpec


def name_publicly(model: Any, wanted: GraphSignature) -> None:
    """Renames in place; `model`'s inputs and outputs go by the names of the source's tensors.

    An input that nothing uses is kept. Raises `ConversionError` for one that the signature does not have, and for a
    name that is both an input's and an output's.
    """
    _check_names(model, wanted)
    _keep_unused(model, wanted)
    private = _make_private(model, wanted)
    rename(model, {private[tensor]: name for name, tensor in wanted.inputs.items()})
    values = {value.name: value for value in (*model.graph.input, *model.graph.output)}
    inner = private | {tensor: name for name, tensor in wanted.inputs.items()}
    inputs = [_renamed(values[name], name) for name in wanted.inputs]
    outputs = [_renamed(values[inner[tensor]], name) for name, tensor in wanted.outputs.items()]
    # Identity, as an output may be an input, or one value be given out twice.
    for name, tensor in wanted.outputs.items():
        model.graph.node.add(op_type="Identity", input=[inner[tensor]], output=[name], name=f"onegate_{name}")
    del model.graph.input[:], model.graph.output[:]
    model.graph.input.extend(inputs)
    model.graph.output.extend(outputs)
    specs = (*wanted.signature.inputs, *wanted.signature.outputs)
    for value, spec in zip((*model.graph.input, *model.graph.output), specs, strict=True):
        if spec.shape is not None:
            set_shape(value, _dims(spec))


def _check_names(model: Any, wanted: GraphSignature) -> None:
    present = {value.name for value in model.graph.input}
    twice = sorted(set(wanted.inputs) & set(wanted.outputs))
    if twice:
        raise ConversionError(f"ONNX can't have an input and an output of the same name {twice[0]!r}")
    extra = sorted(present - set(wanted.inputs.values()))
    if extra:
        raise ConversionError(f"the graph needs a value for {extra[0]!r}, which is no input of the signature")


def _keep_unused(model: Any, wanted: GraphSignature) -> None:
    import onnx

    present = {value.name for value in model.graph.input}
    types = {public: getattr(onnx.TensorProto, name.upper()) for name, public in DATATYPES.items()}
    for spec in wanted.signature.inputs:
        tensor = wanted.inputs[spec.name]
        if tensor not in present:
            model.graph.input.append(onnx.helper.make_tensor_value_info(tensor, types[spec.datatype], None))


def _make_private(model: Any, wanted: GraphSignature) -> dict[str, str]:
    """Takes the public names away from whatever has them; returns the tensors' names from now on."""
    tensors = [*wanted.inputs.values(), *wanted.outputs.values()]
    private = {tensor: f"onegate_value_{index}" for index, tensor in enumerate(dict.fromkeys(tensors))}
    inner = {name: f"{name}__inner" for name in (*wanted.inputs, *wanted.outputs) if name not in private}
    rename(model, private | inner)
    return private


def _renamed(value: Any, name: str) -> Any:
    copy = type(value).FromString(value.SerializeToString())
    copy.name = name
    return copy


def _dims(spec: TensorSpec) -> list[int | str]:
    names = ["batch", *(f"{spec.name}_{axis}" for axis in range(1, len(spec.shape)))]
    return [name if size < 0 else size for name, size in zip(names, spec.shape, strict=False)]
