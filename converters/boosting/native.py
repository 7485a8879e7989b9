"""The native runtime: XGBoost, LightGBM and CatBoost models in their own library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from converters.base import Arrays
from converters.boosting.formats import format_of
from converters.boosting.loaded import load_model
from model_store.datatypes import DTYPES
from model_store.errors import SourceError
from model_store.manifest import Signature


class BoostingModel:
    """A version whose folder holds a file that the library itself saved. None of these files carries code."""

    def __init__(
        self, folder: Path, signatures: Mapping[str, Signature], *, threads: int = 0, trusted: bool = False
    ) -> None:
        files = [path for path in sorted(folder.iterdir()) if path.is_file() and format_of(path) is not None]
        if not files:
            raise SourceError(f"the version holds no model of XGBoost, LightGBM or CatBoost in {folder.name!r}")
        self._model = load_model(files[0], threads)
        self._signatures = dict(signatures)

    def run(self, inputs: Arrays, signature: str) -> dict[str, np.ndarray]:
        """Outputs in the datatypes of the signature."""
        answers = self._model.answer(inputs)
        outputs = self._signatures[signature].outputs
        return {spec.name: _cast(answers[spec.name], spec.datatype) for spec in outputs}


def _cast(values: np.ndarray, datatype: str) -> np.ndarray:
    if datatype != "BYTES":
        return values.astype(DTYPES[datatype])
    texts = np.empty(values.shape, dtype=object)
    texts[...] = [str(value).encode() for value in values]
    return texts
