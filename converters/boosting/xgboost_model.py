"""A model in XGBoost, from its JSON or UBJSON file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from threading import Lock

import numpy as np

from converters.boosting.loaded import LoadedModel, unreadable
from converters.boosting.trees import BoostedModel
from converters.boosting.xgboost_json import XGBoostJson
from model_store.errors import InvalidInput


class XGBoostModel(LoadedModel):
    """Answers as `Booster.predict`, but with the probabilities of all classes for `multi:softmax` too; for a file of
    the scikit-learn interface as that does after early stopping."""

    library = "xgboost"

    def __init__(self, source: Path, threads: int) -> None:
        import xgboost

        self._xgboost = xgboost
        self.version = xgboost.__version__
        try:
            self._booster = xgboost.Booster({"nthread": threads}, model_file=bytearray(source.read_bytes()))
            parsed = XGBoostJson(bytes(self._booster.save_raw("json")))
        except (xgboost.core.XGBoostError, ValueError, KeyError, TypeError) as error:
            raise unreadable(source, "XGBoost", error) from error
        # With names XGBoost refuses plain matrices; they play no part in the answers.
        self._booster.feature_names = None
        self._booster.feature_types = None
        self._parsed = parsed
        self._threads = threads
        # Only trees are said to be safe with several threads.
        self._alone = Lock() if parsed.booster == "gblinear" else contextlib.nullcontext()
        self.features, self.targets, self.labels = parsed.features, parsed.targets, parsed.labels

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """float32; `InvalidInput` for infinite values, which XGBoost refuses."""
        if np.isinf(rows).any():
            raise InvalidInput("XGBoost takes no infinite values; NaN is a missing one")
        matrix = self._xgboost.DMatrix(rows, nthread=self._threads or None)
        scores = self._parsed.objective == "multi:softmax"
        with self._alone:
            values = self._booster.predict(matrix, output_margin=scores, iteration_range=(0, self._parsed.rounds))
        if not scores:
            return np.asarray(values)
        powers = np.exp(values - values.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))

    def _read(self) -> BoostedModel:
        return self._parsed.read()
