"""Small repairs of a model that change no number: what old exporters left, and what a served graph can't have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from converters.graph import set_shape
from converters.onnx.tree_labels import spell_out_labels
from converters.onnx.vetting import all_nodes, describe_attribute
from model_store.errors import ConfigError
from model_store.manifest import Signature, TensorSpec

OLDEST_IR = 4
"""The first in which an initializer need not be an input."""
CLASSIFIERS = ("TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier")


def clean(model: onnx.ModelProto) -> tuple[str, ...] | None:
    """Repairs the model in place, and returns the names of its classes where the graph tells them.

    Initializers are no inputs, outputs are given out once, ZipMaps end as the tensor that they take, training
    information and stale shapes are gone.
    """
    model.ir_version = max(model.ir_version, OLDEST_IR)
    if not any(entry.domain in ("", "ai.onnx") for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", 1))
    del model.training_info[:]
    del model.graph.value_info[:]
    initialised = {tensor.name for tensor in model.graph.initializer}
    initialised |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    _keep(model.graph.input, [value for value in model.graph.input if value.name not in initialised])
    _keep(model.graph.output, list({value.name: value for value in model.graph.output}.values()))
    _sort(model.graph)
    spell_out_labels(model)
    return _remove_zip_maps(model) or _classes(model)


def _keep(field: list[onnx.ValueInfoProto], kept: Sequence[onnx.ValueInfoProto]) -> None:
    values = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
    del field[:]
    field.extend(values)


def _sort(graph: onnx.GraphProto) -> None:
    """Puts producers before consumers, which ONNX asks for and some exporters don't keep to."""
    produced = {name for node in graph.node for name in node.output if name}
    if _in_order(graph.node, produced):
        return
    known: set[str] = set()
    waiting = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    done: list[onnx.NodeProto] = []
    while waiting:
        ready = [not (_used(node) & produced) - known for node in waiting]
        if not any(ready):
            return  # a cycle, which the checker reports
        done.extend(node for node, now in zip(waiting, ready, strict=True) if now)
        known.update(name for node in done for name in node.output)
        waiting = [node for node, now in zip(waiting, ready, strict=True) if not now]
    del graph.node[:]
    graph.node.extend(done)


def _in_order(nodes: Sequence[onnx.NodeProto], produced: set[str]) -> bool:
    known: set[str] = set()
    for node in nodes:
        if (_used(node) & produced) - known:
            return False
        known.update(node.output)
    return True


def _used(node: onnx.NodeProto) -> set[str]:
    """Names that a node takes, those that graphs inside of it take from outside included."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            names |= {name for inner in graph.node for name in _used(inner)}
            names |= {value.name for value in graph.output}
    return names


def _remove_zip_maps(model: onnx.ModelProto) -> tuple[str, ...] | None:
    """Makes each ZipMap an Identity: a dictionary for every row is no tensor, and slow to make. Returns its keys."""
    keys: tuple[str, ...] | None = None
    rows = _common_rows(model)
    outputs = {value.name: value for value in model.graph.output}
    for node in model.graph.node:
        if (node.op_type, node.domain) != ("ZipMap", "ai.onnx.ml") or node.output[0] not in outputs:
            continue
        keys = keys or _labels(node)
        node.CopyFrom(helper.make_node("Identity", list(node.input), list(node.output), name=node.name))
        declared = outputs[node.output[0]]
        declared.CopyFrom(
            helper.make_tensor_value_info(declared.name, TensorProto.FLOAT, [rows, len(keys or ()) or None])
        )
    return keys


def _common_rows(model: onnx.ModelProto) -> int | None:
    """The first dimension of all inputs, if it is static and the same."""
    firsts = {value.type.tensor_type.shape.dim[0].dim_value for value in model.graph.input if _has_rows(value)}
    return firsts.pop() if len(firsts) == 1 and all(map(_has_rows, model.graph.input)) else None


def _has_rows(value: onnx.ValueInfoProto) -> bool:
    dims = value.type.tensor_type.shape.dim
    return len(dims) > 0 and dims[0].HasField("dim_value")


def _classes(model: onnx.ModelProto) -> tuple[str, ...] | None:
    found = [labels for node in all_nodes(model) if node.op_type in CLASSIFIERS and (labels := _labels(node))]
    return found[0] if len(found) == 1 else None


def _labels(node: onnx.NodeProto) -> tuple[str, ...] | None:
    for name in ("classlabels_strings", "classlabels_int64s", "classlabels_ints"):
        values = describe_attribute(node, name)
        if isinstance(values, list) and values:
            return tuple(each.decode() if isinstance(each, bytes) else str(each) for each in values)
    return None


def declare_inputs(model: onnx.ModelProto, specs: Sequence[TensorSpec]) -> None:
    """Gives inputs that have no shape the one that the config says, in place. Raises `ConfigError` for an input that
    the model lacks.

    Others keep theirs: a dimension that becomes static in the graph can make a branch invalid that is never taken.
    """
    values = {value.name: value for value in model.graph.input}
    for spec in specs:
        if spec.name not in values:
            raise ConfigError(f"inputs: {spec.name!r} is no input of the model, which has {', '.join(values)}")
        if values[spec.name].type.tensor_type.HasField("shape"):
            continue
        shape: list[int | str] = [size if size >= 0 else f"{spec.name}_{axis}" for axis, size in enumerate(spec.shape)]
        if shape and spec.shape[0] == -1:
            shape[0] = "batch"
        set_shape(values[spec.name], shape)


def narrowed(signature: Signature, specs: Sequence[TensorSpec]) -> Signature:
    """The signature with the input shapes that the config says, where the graph leaves them open.

    Raises `ConfigError` when one contradicts the graph.
    """
    said = {spec.name: spec for spec in specs}
    return Signature(tuple(_narrowed(spec, said.get(spec.name, spec)) for spec in signature.inputs), signature.outputs)


def _narrowed(spec: TensorSpec, said: TensorSpec) -> TensorSpec:
    fits = said.datatype == spec.datatype and len(said.shape) == len(spec.shape)
    if not fits or any(size not in (-1, wanted) for size, wanted in zip(spec.shape, said.shape, strict=True)):
        raise ConfigError(
            f"inputs: {spec.name!r} is {spec.datatype}{list(spec.shape)} in the model, "
            f"and {said.datatype}{list(said.shape)} in the config"
        )
    return said


def widen_bfloat16(model: onnx.ModelProto) -> bool:
    """Makes every bfloat16 a float32, in place: ONNX Runtime has few kernels for it on CPUs and its Python binding none
    of its arrays. Every bfloat16 number is a float32 one, so that nothing is lost. Says whether there was any."""
    changed = [_widen_graph(model.graph)]
    changed += [_widen_node(node) for function in model.functions for node in function.node]
    return any(changed)


def _widen_graph(graph: onnx.GraphProto) -> bool:
    changed = [_widen_tensor(tensor) for tensor in graph.initializer]
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.BFLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
            changed.append(True)
    changed += [_widen_node(node) for node in graph.node]
    return any(changed)


def _widen_node(node: onnx.NodeProto) -> bool:
    found = False
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype", "output_dtype", "stash_type") and attribute.i == TensorProto.BFLOAT16:
            attribute.i, found = TensorProto.FLOAT, True
        for tensor in (*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])):
            found |= _widen_tensor(tensor)
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            found |= _widen_graph(graph)
    return found


def _widen_tensor(tensor: onnx.TensorProto) -> bool:
    if tensor.data_type != TensorProto.BFLOAT16:
        return False
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    return True
