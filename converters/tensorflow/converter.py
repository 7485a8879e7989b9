"""TensorFlow: SavedModel folders, `.tflite` files and frozen graphs (`.pb`), to ONNX through tf2onnx."""

from __future__ import annotations

from pathlib import Path

from converters.base import Conversion, ConversionOptions, Converter
from converters.headers import read_head
from model_store.errors import ConversionError


class TensorFlowConverter(Converter):
    """SavedModel folders, TFLite files and frozen GraphDefs."""

    framework = "tensorflow"
    extra = "tensorflow"
    kinds = "a TensorFlow SavedModel folder, a TFLite file (.tflite) or a frozen graph (.pb)"

    def detects(self, source: Path) -> bool:
        """A folder with `saved_model.pb`, or a flatbuffer that calls itself TFL3."""
        return (source / "saved_model.pb").is_file() or read_head(source, 8)[4:8] == b"TFL3"

    def convert(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """Raises `ConversionError`."""
        raise ConversionError("TensorFlow sources are not converted yet")
