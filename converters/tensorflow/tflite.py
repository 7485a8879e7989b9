"""TFLite files: in TensorFlow's interpreter, and to ONNX through tf2onnx.

Each signature is an entry of the version; a file without signatures has one, made of its main subgraph. Reading the
file itself is `tflite_file.py`'s.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Arrays, Conversion, ConversionOptions, Range, Run
from converters.graph import open_session, read_signature
from converters.tensorflow.session import one_line
from converters.tensorflow.shapes import with_asked_shapes, with_known_ranks
from converters.tensorflow.signatures import DATATYPES, DEFAULT_SIGNATURE, GraphSignature, natural_order
from converters.tensorflow.tflite_domain import tflite_ranges
from converters.tensorflow.tflite_file import read_tflite, with_main_subgraph
from model_store.errors import ConversionError, SourceError
from model_store.manifest import Signature, TensorSpec


@dataclass(frozen=True)
class _Call:
    """A signature by places: the interpreter's tensors behind public names."""

    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


class TFLiteModel:
    """A TFLite file in as many interpreters as calls run at once, each with `threads` CPU threads.

    Raises `SourceError` when the interpreter does not take the file, and what `read_tflite` raises.
    """

    def __init__(self, path: Path, source: str, *, threads: int = 0) -> None:
        self.file = read_tflite(path, source)
        self._path = path
        self._source = source
        self._threads = threads or None
        self._lock = threading.Lock()
        self._idle = [self._interpreter()]
        self.signatures, self._calls = _read_signatures(self._idle[0], source)

    def run(self, inputs: Arrays, signature: str) -> dict[str, np.ndarray]:
        """All outputs of one batch; inputs are resized to it. Raises `RuntimeError` in one line."""
        call = self._calls[signature]
        with self._borrowed() as interpreter:
            try:
                return _invoke(interpreter._interpreter, call, inputs)
            except (RuntimeError, ValueError) as error:
                raise RuntimeError(f"TFLite: {one_line(error)}") from None

    @contextmanager
    def _borrowed(self) -> Iterator[Any]:
        with self._lock:
            interpreter = self._idle.pop() if self._idle else None
        interpreter = interpreter or self._interpreter()
        try:
            yield interpreter
        finally:
            with self._lock:
                self._idle.append(interpreter)

    def _interpreter(self) -> Any:
        import tensorflow

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TensorFlow 2.21 announces that its interpreter moves elsewhere
                return tensorflow.lite.Interpreter(str(self._path), num_threads=self._threads)
        except (RuntimeError, ValueError) as error:
            raise SourceError(
                f"source {self._source!r} can't be loaded by TFLite of TensorFlow {tensorflow.__version__}: "
                f"{one_line(error)}"
            ) from error


def _invoke(wrapper: Any, call: _Call, inputs: Arrays) -> dict[str, np.ndarray]:
    for name, tensor in call.inputs.items():
        wrapper.ResizeInputTensor(tensor, np.array(inputs[name].shape, np.int32), False, call.subgraph)
    wrapper.AllocateTensors(call.subgraph)
    for name, tensor in call.inputs.items():
        wrapper.SetTensor(tensor, np.ascontiguousarray(inputs[name]), call.subgraph)
    wrapper.Invoke(call.subgraph)
    return {name: np.array(wrapper.GetTensor(tensor, call.subgraph)) for name, tensor in call.outputs.items()}


def _read_signatures(interpreter: Any, source: str) -> tuple[dict[str, GraphSignature], dict[str, _Call]]:
    calls: dict[str, _Call] = {}
    for name, definition in interpreter._get_full_signature_list().items():
        subgraph = interpreter._interpreter.GetSubgraphIndexFromSignature(name)
        inputs, outputs = (
            dict(sorted(definition[role].items(), key=lambda item: natural_order(item[0])))
            for role in ("inputs", "outputs")
        )
        calls[name] = _Call(subgraph, inputs, outputs)
    if not calls:
        calls[DEFAULT_SIGNATURE] = _Call(
            0, _plain_names(interpreter.get_input_details()), _plain_names(interpreter.get_output_details())
        )
    order = sorted(calls, key=lambda name: (name != DEFAULT_SIGNATURE, name))
    return {name: _describe(interpreter, name, calls[name], source) for name in order}, calls


def _plain_names(details: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Public names of the main subgraph's tensors: without the marks that TensorFlow's exporters put on them."""
    names = [re.sub(r"(?<=.):\d+$", "", each["name"]).removeprefix("serving_default_") for each in details]
    if len(set(names)) < len(names):
        names = [f"{name}_{index}" for index, name in enumerate(names)]
    return {name: each["index"] for name, each in zip(names, details, strict=True)}


def _describe(interpreter: Any, name: str, call: _Call, source: str) -> GraphSignature:
    tensors = {each["index"]: each for each in interpreter.get_tensor_details(call.subgraph)}
    inputs = tuple(_spec(key, tensors[index], source) for key, index in call.inputs.items())
    dynamic = any(-1 in spec.shape for spec in inputs)
    outputs = tuple(_spec(key, tensors[index], source) for key, index in call.outputs.items())
    if dynamic:
        # What a file says of outputs holds for its own input sizes only; shapes.py finds out.
        outputs = tuple(TensorSpec(each.name, each.datatype, None) for each in outputs)  # type: ignore[arg-type]
    return GraphSignature(
        name=name,
        inputs={key: tensors[index]["name"] for key, index in call.inputs.items()},
        outputs={key: tensors[index]["name"] for key, index in call.outputs.items()},
        signature=Signature(inputs, outputs),
    )


def _spec(name: str, detail: Mapping[str, Any], source: str) -> TensorSpec:
    kind = "string" if detail["dtype"] in (np.bytes_, np.object_, np.str_) else np.dtype(detail["dtype"]).name
    if kind not in DATATYPES:
        raise ConversionError(f"source {source!r}: tensor {name!r} has the element type {kind}, which is not served")
    shape = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
    return TensorSpec(name, DATATYPES[kind], tuple(int(size) for size in shape))


def describe_tflite(source: Path, options: ConversionOptions) -> list[Conversion]:
    """All signatures for the interpreter, the default first; their `model` is the source itself."""
    return [each.native(source) for each in _entries(source, options)]


def convert_tflite(source: Path, options: ConversionOptions, folder: Path) -> list[Conversion]:
    """All signatures as ONNX files in `folder`, the default first. Raises `ConversionError` where tf2onnx fails."""
    from converters.tensorflow.onnx_export import export_tflite
    from converters.tensorflow.onnx_files import SignatureFiles

    files = SignatureFiles(folder)
    conversions: list[Conversion] = []
    for entry in _entries(source, options):
        single = folder.parent / f"{folder.name}-{len(conversions)}.tflite"
        model = read_tflite(source, source.name)
        single.write_bytes(with_main_subgraph(model, entry.subgraph))
        proto = export_tflite(single, entry.graph)
        saved = files.save(entry.graph.name, proto)
        conversions.append(replace(entry.native(saved), runtime="onnx", signature=read_signature(open_session(saved))))
    return conversions


@dataclass(frozen=True)
class _Entry:
    """One signature of a file that is loaded in the interpreter."""

    graph: GraphSignature
    subgraph: int
    run: Run
    ranges: dict[str, Range]

    def native(self, model: Path) -> Conversion:
        from converters.tensorflow.libraries import versions

        libraries = versions()
        return Conversion(
            model=model,
            signature=self.graph.signature,
            reference=self.run,
            reference_name=f"tflite of tensorflow {libraries['tensorflow']}",
            runtime="tensorflow",
            signature_name=self.graph.name,
            libraries=libraries,
            ranges=self.ranges,
        )


def _entries(source: Path, options: ConversionOptions) -> list[_Entry]:
    model = TFLiteModel(source, source.name)
    wanted = with_asked_shapes(model.signatures, options.inputs)
    return [_entry(model, name, graph) for name, graph in wanted.items()]


def _entry(model: TFLiteModel, name: str, graph: GraphSignature) -> _Entry:
    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        return model.run(inputs, name)

    call = model._calls[name]
    ranges = tflite_ranges(model.file, call.subgraph, call.inputs, graph.signature)
    signature = with_known_ranks(graph.signature, run, ranges, {})
    return _Entry(replace(graph, signature=signature), call.subgraph, run, ranges)
