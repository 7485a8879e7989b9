"""Keras models to ONNX, or for TensorFlow: loaded, traced, and converted as any graph of TensorFlow is.

Layout stays as the model has it (channels last). Reading files is `loading.py`'s, graphs are `converters.tensorflow`'s.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.base import Conversion, ConversionOptions, Converter
from converters.graph import open_session, read_signature, save_model
from converters.keras.configs import kind_of
from model_store.errors import ConversionError
from model_store.manifest import Signature


class KerasConverter(Converter):
    """`.keras` archives of Keras 3, and `.h5` files of any Keras."""

    framework = "keras"
    extra = "tensorflow"
    kinds = "a Keras model (.keras or .h5)"
    revision = 2

    def detects(self, source: Path) -> bool:
        """An archive or folder that holds `config.json` beside weights, or an HDF5 file."""
        return kind_of(source) is not None

    def alternatives(self, source: Path, options: ConversionOptions, workdir: Path) -> Iterator[Conversion]:
        """With recurrent layers as ONNX's own operators, then with the loops that Keras makes of them."""
        from converters.keras.recurrent import fused_layers, has_recurrent_layers

        loaded = _LoadedSource(source, options, workdir)
        if has_recurrent_layers(loaded.call.model):
            yield from _made(lambda: loaded.to_onnx("onnx-fused", fused_layers()))
        yield loaded.to_onnx("onnx", nullcontext())

    def native(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """A SavedModel with the same names; the code of custom layers is in its graph.

        Where there is no graph, the source itself, provided that all code it needs is in it.
        """
        loaded = _LoadedSource(source, options, workdir)
        try:
            return loaded.to_saved_model()
        except ConversionError:
            if options.custom_objects or source.is_dir():
                raise
            return loaded.as_it_is(source)


def _made(make: Any) -> Iterator[Conversion]:
    """Nothing where the first way fails, as there is a second."""
    try:
        yield make()
    except ConversionError:
        return


class _LoadedSource:
    """A model, loaded once for all ways of serving it."""

    def __init__(self, source: Path, options: ConversionOptions, workdir: Path) -> None:
        from converters.keras.call import model_call
        from converters.keras.loading import load_model

        self._workdir = workdir
        self._loaded = load_model(source, options, workdir)
        self.call = model_call(self._loaded, options, source)

    def to_onnx(self, name: str, tracing: AbstractContextManager[None]) -> Conversion:
        """Raises `ConversionError` where the model can't be traced or holds what ONNX does not have."""
        from converters.keras.onnx_export import export_call

        with tracing:
            exported = export_call(self.call, self._workdir / f"{name}-graph")
        saved = save_model(exported.model, self._workdir / name)
        return replace(
            self._conversion(saved),
            signature=read_signature(open_session(saved)),
            ranges=exported.ranges,
            choices=exported.choices,
        )

    def to_saved_model(self) -> Conversion:
        """Raises `ConversionError` where the model can't be traced."""
        from converters.keras.onnx_export import read_domains
        from converters.keras.saved_model import load_graph, save_traced
        from converters.keras.tracing import trace
        from converters.tensorflow.shapes import with_known_ranks

        folder = self._workdir / "native"
        folder.mkdir()
        signature = save_traced(self.call, trace(self.call), folder / "saved_model")
        ranges, choices = read_domains(self.call, load_graph(folder / "saved_model", signature), signature)
        return replace(
            self._conversion(folder / "saved_model"),
            runtime="tensorflow",
            signature=with_known_ranks(signature.signature, self.call.run, ranges, choices),
            ranges=ranges,
            choices=choices,
        )

    def as_it_is(self, source: Path) -> Conversion:
        """The file for Keras itself; what it gives is found by calling it."""
        from converters.keras.native import FILE
        from converters.keras.subclassed import called_signature

        folder = self._workdir / "native-keras"
        folder.mkdir()
        shutil.copyfile(source, folder / FILE)
        return replace(self._conversion(folder / FILE), runtime="tensorflow", signature=called_signature(self.call))

    def _conversion(self, model: Path) -> Conversion:
        return Conversion(
            model=model,
            signature=Signature((), ()),
            reference=self.call.run,
            reference_name=f"{self._loaded.library} {self._loaded.version}",
            libraries=self._versions(),
        )

    def _versions(self) -> dict[str, str]:
        import tensorflow
        import tf2onnx

        return {
            self._loaded.library: self._loaded.version,
            "tensorflow": tensorflow.__version__,
            "tf2onnx": tf2onnx.__version__,
        }
