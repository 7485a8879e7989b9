"""Plain ONNX: a file, or a folder that holds one with its external data.

Nothing is translated; the model is checked, made one clean file and compared with the ONNX reference
evaluator where that can run it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import onnx
import onnx.reference
import onnxruntime

from converters.base import Arrays, Conversion, ConversionOptions, Converter
from converters.graph import open_session, read_signature, save_model
from converters.headers import read_head
from converters.parity import Run, runner
from converters.samples import Samples, dynamic_batch, fixed_batch
from model_store.errors import ConversionError, SourceError
from model_store.manifest import Signature

SERVED_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""ONNX Runtime's builds bring kernels for these."""
EVALUATOR_BUDGET_S = 2.0
"""The reference evaluator is numpy; a model that takes it longer for one row is compared otherwise."""


class OnnxConverter(Converter):
    """`.onnx`, external data included."""

    framework = "onnx"
    extra = None
    kinds = "an ONNX file, or a folder of one with its external data"

    def detects(self, source: Path) -> bool:
        """An ONNX file opens with its IR version (field 1, a small varint) and a further field of the model."""
        path = _model_path(source)
        head = read_head(path, 16) if path else b""
        return len(head) > 2 and head[0] == 0x08 and 1 <= head[1] <= 20 and head[2] in _SECOND_FIELDS

    def convert(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """The checked model as it is; raises `ConversionError` for operators of unknown domains."""
        path = _model_path(source)
        if path is None:
            raise SourceError(f"source {source.name!r}: expected one .onnx file in the folder")
        model = _load(path)
        _refuse_custom_domains(model)
        saved = save_model(model, workdir / "onnx")
        try:
            onnx.checker.check_model(str(saved))
        except onnx.checker.ValidationError as error:
            line = str(error).strip().splitlines()[0]
            raise SourceError(f"source {source.name!r} is not a valid ONNX model: {line}") from error
        signature = read_signature(open_session(saved))
        reference, name = _reference(saved, signature)
        return Conversion(saved, signature, reference, name, libraries=_versions())


_SECOND_FIELDS = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
"""Keys of the model's fields 2 to 8: producer, domain, version, doc string, graph, opset."""


def _model_path(source: Path) -> Path | None:
    if not source.is_dir():
        return source
    found = sorted(source.glob("*.onnx"))
    return found[0] if len(found) == 1 else None


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError moves between its implementations
        raise SourceError(f"source {path.name!r} is cut off or damaged: {error}") from error
    if not model.graph.node and not model.graph.output:
        raise SourceError(f"source {path.name!r} holds no graph: expected an ONNX model")
    locations = {location for tensor in _tensors(model) for location in _locations(tensor)}
    for location in sorted(locations):
        _vet_location(path, location)
    onnx.load_external_data_for_model(model, str(path.parent))
    return model


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                yield from (*attribute.tensors, attribute.t)
                graphs.extend((*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])))


def _locations(tensor: onnx.TensorProto) -> list[str]:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return []
    return [entry.value for entry in tensor.external_data if entry.key == "location"]


def _vet_location(path: Path, location: str) -> None:
    pure = PurePosixPath(location.replace("\\", "/"))
    folder = path.parent.resolve()
    target = (folder / pure).resolve()
    if pure.is_absolute() or ".." in pure.parts or not target.is_relative_to(folder):
        raise SourceError(f"source {path.name!r}: external data {location!r} lies outside of the model's folder")
    if not target.is_file():
        raise SourceError(
            f"source {path.name!r}: external data {location!r} is missing; "
            "give the folder that holds the model and its data as the source"
        )


def _refuse_custom_domains(model: onnx.ModelProto) -> None:
    own = {function.domain for function in model.functions}
    custom = sorted(
        {f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in (*SERVED_DOMAINS, *own)}
    )
    if custom:
        raise ConversionError(
            f"the model uses operators of custom domains, which ONNX Runtime does not have: {', '.join(custom)}",
            operators=custom,
        )


def _reference(model: Path, signature: Signature) -> tuple[Run, str]:
    """The ONNX reference evaluator, or ONNX Runtime with no optimisation where that can't run the model."""
    try:
        evaluator = onnx.reference.ReferenceEvaluator(str(model))

        def evaluate(inputs: Arrays) -> dict[str, np.ndarray]:
            return dict(zip(evaluator.output_names, evaluator.run(None, dict(inputs)), strict=True))

        batch = 1 if dynamic_batch(signature) else fixed_batch(signature)
        start = time.perf_counter()
        evaluate(Samples(signature).draw(batch, 0))
        if time.perf_counter() - start < EVALUATOR_BUDGET_S:
            return evaluate, f"onnx reference evaluator {onnx.__version__}"
    except Exception:  # it lacks operators, and says so in many ways
        pass
    plain = runner(open_session(model, optimise=False))
    return plain, f"onnxruntime {onnxruntime.__version__} without optimisation"


def _versions() -> dict[str, str]:
    return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
