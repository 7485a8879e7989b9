"""A model in LightGBM, from its text file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from converters.boosting.lightgbm_text import LightGBMText
from converters.boosting.loaded import LoadedModel, unreadable
from converters.boosting.trees import BoostedModel


class LightGBMModel(LoadedModel):
    """Answers as `Booster.predict`."""

    library = "lightgbm"

    def __init__(self, source: Path, threads: int) -> None:
        import lightgbm

        self.version = lightgbm.__version__
        try:
            text = source.read_text("utf-8")
            self._parsed = LightGBMText(text)
            self._booster = lightgbm.Booster(model_str=text)
        except (lightgbm.basic.LightGBMError, ValueError, KeyError) as error:
            raise unreadable(source, "LightGBM", error) from error
        self._threads = threads
        parsed = self._parsed
        self.features, self.targets, self.labels = parsed.features, parsed.targets, parsed.labels

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """float64."""
        return np.asarray(self._booster.predict(rows, num_threads=self._threads))

    def _read(self) -> BoostedModel:
        return self._parsed.read()
