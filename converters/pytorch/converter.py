"""PyTorch: programs saved by `torch.export.save` (`.pt2`) to ONNX through the exporter's own graph.

What is in the archive is vetted, and written anew, by `pt2_archive.py` before PyTorch sees it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Arrays, Conversion, ConversionOptions, Converter, Range
from converters.graph import alias_outputs, open_session, read_signature, rename, save_model
from converters.headers import zip_members
from converters.pytorch.pt2_archive import vet_archive
from model_store.errors import ConversionError, SourceError

OPSET = 20
"""Recent, and implemented in full by ONNX Runtime 1.22 and later."""


class PyTorchConverter(Converter):
    """`.pt2` archives of torch.export."""

    framework = "pytorch"
    extra = "torch"
    kinds = "a PyTorch program saved by torch.export.save (.pt2)"

    def detects(self, source: Path) -> bool:
        """The archive holds the program as `<root>/models/<name>.json`, or in PyTorch 2.7 and before at its top."""
        members = zip_members(source)
        return any(name.split("/", 1)[-1].startswith("models/") and name.endswith(".json") for name in members) or (
            "serialized_exported_program.json" in members
        )

    def convert(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """Exports the program as it was captured; a dimension is dynamic when it was dynamic there."""
        clean = vet_archive(source, workdir / "vetted.pt2", trust=options.trust)
        import torch

        _quieten()
        program = _load(clean, source)
        inputs = _input_names(program)
        outputs = output_names(program.call_spec.out_spec, len(program.graph_signature.user_outputs))
        model = _export(program, inputs)
        alias_outputs(model, outputs)
        saved = save_model(model, workdir / "onnx")
        return Conversion(
            model=saved,
            signature=read_signature(open_session(saved)),
            reference=_reference(program, inputs, outputs),
            reference_name=f"pytorch {torch.__version__.split('+')[0]}",
            libraries=_versions(),
            ranges=_index_ranges(program),
        )


def _quieten() -> None:
    """The exporter logs what it skips and warns of its own deprecations; neither is the user's concern."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


def _load(clean: Path, source: Path) -> Any:
    import torch

    try:
        return torch.export.load(clean)
    except Exception as error:  # anything from KeyError to C++ errors
        line = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise SourceError(
            f"source {source.name!r} can't be loaded by PyTorch {torch.__version__}: {line[0][:300]}"
        ) from error


def _input_names(program: Any) -> list[str]:
    """Names of the inputs in calling order, as the program's signature has them."""
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    names: list[str] = []
    for name in program.graph_signature.user_inputs:
        value = placeholders[name].meta.get("val") if isinstance(name, str) else name
        if not hasattr(value, "shape"):
            raise ConversionError(
                f"input {name!r} of the program is {type(value).__name__}, not a tensor; "
                "export it with tensors as its only inputs"
            )
        names.append(name)
    return names


def output_names(out_spec: Any, count: int) -> list[str]:
    """Public names of a program's flat outputs.

    The keys of a dict (of nested ones joined by '_'), `output_0..` for a tuple or list, `output` for a tensor.
    """
    names = _leaf_names(out_spec, "")
    names = [name or "output" for name in names]
    if len(names) != count or len(set(names)) != count:
        names = [f"output_{index}" for index in range(count)]
    return names


def _leaf_names(spec: Any, prefix: str) -> list[str]:
    if spec.is_leaf():
        return [prefix]
    children = spec.children()
    keys: Sequence[Any] = range(len(children))
    if spec.type is not None and issubclass(spec.type, Mapping):
        keys = spec.context if isinstance(spec.context, list) else list(spec.context)
        base = prefix
    else:
        base = prefix or "output"
    return [
        leaf
        for key, child in zip(keys, children, strict=True)
        for leaf in _leaf_names(child, f"{base}_{key}" if base else str(key))
    ]


def _export(program: Any, inputs: list[str]) -> Any:
    import torch

    try:
        exported = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False, external_data=False)
        model = exported.model_proto
    except Exception as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        cause = error.__cause__ or error
        detail = str(cause).strip().splitlines()[:1] or lines[:1] or [type(error).__name__]
        raise ConversionError(f"PyTorch's ONNX exporter fails: {detail[0][:400]}") from error
    if len(model.graph.input) != len(inputs):
        raise ConversionError(
            f"the ONNX graph has {len(model.graph.input)} inputs and the program {len(inputs)}; "
            "an input that the model never uses can't be kept"
        )
    rename(model, {value.name: name for value, name in zip(model.graph.input, inputs, strict=True)})
    return model


def _reference(program: Any, inputs: list[str], outputs: list[str]) -> Any:
    import torch

    module = program.module(check_guards=False)
    in_spec = program.call_spec.in_spec

    def run(arrays: Arrays) -> dict[str, np.ndarray]:
        leaves = [torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in inputs]
        args, kwargs = torch.utils._pytree.tree_unflatten(leaves, in_spec)
        with torch.no_grad():
            flat, _ = torch.utils._pytree.tree_flatten(module(*args, **kwargs))
        return {
            name: value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
            for name, value in zip(outputs, flat, strict=True)
        }

    return run


def _index_ranges(program: Any) -> dict[str, Range]:
    """Inputs that go straight into an embedding index its rows; random values must stay inside."""
    ranges: dict[str, Range] = {}
    for node in program.graph.nodes:
        if "embedding" not in str(node.target) or len(node.args) < 2:
            continue
        weight, index = node.args[:2]
        if getattr(index, "op", None) == "placeholder" and "val" in getattr(weight, "meta", {}):
            ranges[index.name] = (0, int(weight.meta["val"].shape[0]) - 1)
    return ranges


def _versions() -> dict[str, str]:
    import onnx
    import onnxscript
    import torch

    return {"torch": str(torch.__version__), "onnxscript": onnxscript.__version__, "onnx": onnx.__version__}
