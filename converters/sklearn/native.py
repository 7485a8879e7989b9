"""Serving scikit-learn models in scikit-learn itself."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from converters.base import Arrays
from converters.sklearn.inputs import plan_inputs
from converters.sklearn.predictor import Predictor
from converters.sklearn.reading import PICKLE_FILE, SKOPS_FILE, load_estimator
from model_store.manifest import Signature


class SklearnModel:
    """The estimator of a skops file (vetted again when it is loaded) or, where `trusted`, of a pickle."""

    def __init__(
        self, folder: Path, signatures: Mapping[str, Signature], *, threads: int = 0, trusted: bool = False
    ) -> None:
        """Raises `TrustRequired` for a pickle that is not trusted, `SourceError` when the file can't be read."""
        from threadpoolctl import ThreadpoolController

        # That columns came without names, that the library is another version: nothing to tell at each request.
        warnings.filterwarnings("ignore", module=r"sklearn|xgboost|lightgbm|catboost")
        source = folder / SKOPS_FILE
        estimator = load_estimator(source if source.exists() else folder / PICKLE_FILE, trust=trusted)
        self._threads = threads
        # Looking for the libraries takes milliseconds, setting their limits microseconds.
        self._controller = ThreadpoolController()
        self._predictors = {
            name: Predictor.of(estimator, plan_inputs(estimator, signature.inputs))
            for name, signature in signatures.items()
        }

    def run(self, inputs: Arrays, signature: str) -> dict[str, np.ndarray]:
        """Answers for one batch."""
        if not self._threads:
            return self._predictors[signature].run(inputs)
        with self._controller.limit(limits=self._threads):  # OpenMP's limit is the calling thread's own
            return self._predictors[signature].run(inputs)
