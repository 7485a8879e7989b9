"""What XGBoost's JSON model says of itself: objective, classes, thresholds. XGBoost does the predicting."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.thresholds import group_by_feature
from model_store.errors import ConversionError

CLASSIFIERS = ("binary:logistic", "multi:softprob", "multi:softmax")


@dataclass(frozen=True)
class XGBoostJson:
    """A model as `Booster.save_raw("json")` writes it."""

    learner: dict[str, Any]
    version: list[int]

    @classmethod
    def parse(cls, data: bytes) -> XGBoostJson:
        """Raises `ValueError` or `KeyError` when `data` is no such model."""
        document = json.loads(data)
        return cls(document["learner"], document["version"])

    @property
    def objective(self) -> str:
        """As 'binary:logistic'."""
        return str(self.learner["objective"]["name"])

    @property
    def features(self) -> int:
        """Number of input columns."""
        return int(self.learner["learner_model_param"]["num_feature"])

    @property
    def classes(self) -> int:
        """Number of classes; 0 for what is no classifier."""
        if self.objective not in CLASSIFIERS:
            return 0
        return max(2, int(self.learner["learner_model_param"]["num_class"]))

    @property
    def targets(self) -> int:
        """Columns of a model that is no classifier."""
        return max(1, int(self.learner["learner_model_param"].get("num_target", 1)))

    def with_probabilities(self) -> bytes:
        """The same model, with an objective that gives probabilities where it gave the class alone: onnxmltools
        leaves their softmax out otherwise."""
        learner = dict(self.learner)
        if self.objective == "multi:softmax":
            learner["objective"] = {**learner["objective"], "name": "multi:softprob"}
        return json.dumps({"learner": learner, "version": self.version}).encode()

    def refuse_unsupported(self) -> None:
        """Raises `ConversionError` for linear boosters and categorical splits, which have no tree to convert
        or would be converted wrongly."""
        kind = self.learner["gradient_booster"]["name"]
        if kind not in ("gbtree", "dart"):
            raise ConversionError(f"XGBoost booster {kind!r} can't be converted; expected 'gbtree' or 'dart'")
        if any(tree.get("categories") for tree in self._trees()):
            raise ConversionError(
                "the XGBoost model splits on categories, which can't be converted; train it on encoded columns"
            )

    def thresholds(self) -> list[np.ndarray]:
        """The values that each feature is compared with."""
        pairs = [
            (feature, value)
            for tree in self._trees()
            for feature, value, left in zip(
                tree["split_indices"], tree["split_conditions"], tree["left_children"], strict=True
            )
            if left != -1  # a leaf keeps its answer in the same list
        ]
        return group_by_feature([pair[0] for pair in pairs], [pair[1] for pair in pairs], self.features)

    def _trees(self) -> list[dict[str, Any]]:
        booster = self.learner["gradient_booster"]
        trees: list[dict[str, Any]] = booster.get("gbtree", booster).get("model", {}).get("trees", [])
        return trees
