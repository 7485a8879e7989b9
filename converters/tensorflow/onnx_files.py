"""Several ONNX graphs of one version, and where their bytes lie."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from converters.graph import LARGEST_INLINE_BYTES, MODEL_FILE


class SignatureFiles:
    """The ONNX files of a version with several signatures, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: set[str] = set()

    def save(self, signature: str, model: Any) -> Path:
        """Writes the model: the first as `model.onnx`, others by their signature."""
        name = self._file_name(signature) if self._taken else MODEL_FILE
        self._taken.add(name)
        return save_graph(model, self._folder / name)

    def _file_name(self, signature: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", signature)
        suffixes = ("", *(f"_{index}" for index in range(len(self._taken) + 1)))
        return next(name for name in (f"{plain}{suffix}.onnx" for suffix in suffixes) if name not in self._taken)


def save_graph(model: Any, path: Path) -> Path:
    """Writes the model into `path`, with large weights beside it in a file of that name and `.data`."""
    import onnx

    path.parent.mkdir(parents=True, exist_ok=True)
    if model.ByteSize() < LARGEST_INLINE_BYTES:
        onnx.save(model, path)
    else:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data")
    return path
