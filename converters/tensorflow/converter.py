"""TensorFlow: SavedModel folders, TFLite files and frozen graphs, to ONNX through tf2onnx or for TensorFlow itself.

Each signature is an entry of the version. What a graph may do is `vetting.py`'s, TFLite is `tflite.py`'s.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Arrays, Conversion, ConversionOptions, Converter, Range, Run
from converters.graph import open_session, read_signature
from converters.tensorflow.libraries import versions
from converters.tensorflow.native import FROZEN_GRAPH, SAVED_MODEL, TFLITE
from converters.tensorflow.onnx_files import SignatureFiles
from converters.tensorflow.shapes import with_asked_shapes, with_known_ranks
from converters.tensorflow.signatures import GraphSignature
from converters.tensorflow.source import kind_of, saved_model_folder
from model_store.errors import ConversionError
from model_store.manifest import Signature


class TensorFlowConverter(Converter):
    """SavedModel folders, TFLite files and frozen graphs."""

    framework = "tensorflow"
    extra = "tensorflow"
    kinds = "a TensorFlow SavedModel folder, a TFLite file (.tflite) or a frozen graph (.pb)"

    def detects(self, source: Path) -> bool:
        """A folder with `saved_model.pb`, a flatbuffer that calls itself TFL3, a protobuf that begins with a node."""
        return kind_of(source) is not None

    def alternatives(self, source: Path, options: ConversionOptions, workdir: Path) -> Iterator[Conversion]:
        """As exported, and with logarithms of one rounding, which come first where the graph is sensitive to it. Every
        signature becomes an ONNX file of one folder: `model.onnx` the default, the others by their names."""
        from converters.tensorflow.exact_logarithms import divides_by_spread, with_exact_logarithms

        conversion = _exported(source, options, workdir / "onnx")
        exact = with_exact_logarithms(conversion, workdir / "onnx-exact-logarithms")
        if exact is None:
            yield conversion
        else:
            yield from (exact, conversion) if divides_by_spread(conversion) else (conversion, exact)

    def native(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """The source's own files, with all signatures."""
        folder = workdir / "native"
        folder.mkdir()
        if kind_of(source) == "tflite":
            from converters.tensorflow.tflite import describe_tflite

            main = folder / TFLITE
            shutil.copyfile(source, main)
            return _gather([replace(each, model=main) for each in describe_tflite(source, options)])
        graphs = _Graphs(source, options)
        main = graphs.copy_to(folder)
        return _gather([replace(entry.conversion(main, None), runtime="tensorflow") for entry in graphs.entries()])


def _exported(source: Path, options: ConversionOptions, folder: Path) -> Conversion:
    if kind_of(source) == "tflite":
        from converters.tensorflow.tflite import convert_tflite

        return _gather(convert_tflite(source, options, folder))
    return _gather(_export(_Graphs(source, options).entries(), SignatureFiles(folder)))


def _export(entries: Sequence[_Entry], files: SignatureFiles) -> list[Conversion]:
    """Each signature's graph as ONNX; equal graphs share a file."""
    from converters.tensorflow.graph_digest import graph_digest
    from converters.tensorflow.onnx_export import export_graph

    known: dict[bytes, Path] = {}
    conversions = []
    for entry in entries:
        if entry.frozen is None:
            raise entry.failure or ConversionError("the graph can't be frozen")
        digest = graph_digest(entry.frozen, entry.graph)
        model = known.get(digest) if digest else None
        model = model or files.save(entry.graph.name, export_graph(entry.frozen, entry.graph))
        known.setdefault(digest or b"", model)
        conversions.append(entry.conversion(model, read_signature(open_session(model))))
    return conversions


def _gather(conversions: Sequence[Conversion]) -> Conversion:
    """One conversion of all signatures; the first is the default's."""
    return replace(conversions[0], others=tuple(conversions[1:]))


@dataclass(frozen=True)
class _Entry:
    """One signature of a loaded graph."""

    graph: GraphSignature
    run: Run
    frozen: Any
    """None where it can't be frozen, for the reason `failure`."""
    failure: ConversionError | None
    ranges: dict[str, Range]
    choices: dict[str, np.ndarray]

    def conversion(self, model: Path, signature: Signature | None) -> Conversion:
        """With the signature as it is found in an ONNX file, or the graph's own."""
        libraries = versions()
        return Conversion(
            model=model,
            signature=signature or with_known_ranks(self.graph.signature, self.run, self.ranges, self.choices),
            reference=self.run,
            reference_name=f"tensorflow {libraries['tensorflow']}",
            signature_name=self.graph.name,
            libraries=libraries,
            ranges=self.ranges,
            choices=self.choices,
        )


class _Graphs:
    """A SavedModel or frozen graph, loaded once for all its signatures."""

    def __init__(self, source: Path, options: ConversionOptions) -> None:
        self._source = source
        self._is_folder = kind_of(source) == "saved_model"
        self._asked = options.inputs
        if self._is_folder:
            from converters.tensorflow.saved_model import load_saved_model

            self._session = load_saved_model(saved_model_folder(source), source.name, trust=options.trust)
        else:
            from converters.tensorflow.frozen_graph import load_frozen_graph

            self._session = load_frozen_graph(source, source.name, options.inputs, trust=options.trust)

    def copy_to(self, folder: Path) -> Path:
        """Copies what the native runtime loads; returns the main file or folder."""
        if self._is_folder:
            from converters.tensorflow.saved_model import copy_saved_model

            return copy_saved_model(saved_model_folder(self._source), folder / SAVED_MODEL)
        return Path(shutil.copyfile(self._source, folder / FROZEN_GRAPH))

    def entries(self) -> list[_Entry]:
        """All signatures, the default first."""
        wanted = with_asked_shapes(self._session.signatures, self._asked)
        return [self._entry(name, graph) for name, graph in wanted.items()]

    def _entry(self, name: str, wanted: GraphSignature) -> _Entry:
        from converters.tensorflow.domain import read_domain, widen
        from converters.tensorflow.freezing import freeze

        def run(inputs: Arrays) -> dict[str, np.ndarray]:
            return self._session.run(inputs, name)

        try:
            frozen = freeze(self._session, wanted)
        except ConversionError as failure:
            return _Entry(wanted, run, None, failure, {}, {})
        ranges, choices = read_domain(frozen, wanted)
        return _Entry(wanted, run, frozen, None, widen(wanted.signature, run, ranges, choices), choices)
