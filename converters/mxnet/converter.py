"""MXNet models, as `HybridBlock.export`, `Module.save_checkpoint` and MXNet Model Server's archives hold them, to ONNX.

MXNet itself is not needed: both files are read here, every operator is translated by `ops/`, and what the translation
computes is compared with the operators in numpy (`reference/`), or with a real MXNet where the user has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from converters.base import Conversion, ConversionOptions, Converter
from converters.mxnet.evidence import Evidence, precision_of
from converters.mxnet.files import find_model, looks_like_model
from converters.mxnet.inputs import model_inputs
from converters.mxnet.meanings import sensible_values
from converters.mxnet.model import read_model, write_model
from converters.mxnet.model_file import write_model_file
from model_store.manifest import Signature


class MXNetConverter(Converter):
    """`PREFIX-symbol.json` with `PREFIX-NNNN.params`."""

    framework = "mxnet"
    extra = None
    kinds = "an MXNet model (PREFIX-symbol.json with PREFIX-NNNN.params: either file, or a folder of both)"
    revision = 1

    def detects(self, source: Path) -> bool:
        """See `looks_like_model`."""
        return looks_like_model(source)

    def alternatives(self, source: Path, options: ConversionOptions, workdir: Path) -> Iterator[Conversion]:
        """The translated graph, and its second opinion.

        Raises `SourceError` for files that are damaged or don't belong together, `ConfigError` that says which inputs
        to declare, `ConversionError` that lists operators without a translation or names the node that has none.
        """
        files = find_model(source)
        parameters, binding = read_model(files)
        specs = model_inputs(binding, parameters, options)
        written = write_model(binding, parameters, specs)
        path = write_model_file(written.model, written.weights, workdir / "onnx")
        ranges, choices = sensible_values(binding, parameters, specs)
        evidence = Evidence(files, binding, parameters, specs, written.outputs)
        reference, name = evidence.reference(options, workdir)
        yield Conversion(
            path,
            Signature(tuple(specs), written.outputs),
            reference,
            name,
            precision=precision_of(binding, parameters, specs),
            libraries={"onnx": onnx.__version__},
            ranges=ranges,
            choices=choices,
        )
