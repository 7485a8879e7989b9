"""XGBoost's JSON model, as `Booster.save_raw("json")` of XGBoost 3 writes it, read into `BoostedModel`.

The format: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html. Older files are read by the installed
XGBoost, which writes them anew in this form.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from converters.boosting.trees import LEAF, BoostedModel, Comparison, Link, Treatment, Tree
from model_store.errors import ConversionError

CLASSIFIERS = ("binary:logistic", "binary:hinge", "multi:softprob", "multi:softmax")
LINKS = {
    "binary:logistic": Link.SIGMOID,
    "reg:logistic": Link.SIGMOID,
    "binary:hinge": Link.STEP,
    "multi:softprob": Link.SOFTMAX,
    "multi:softmax": Link.SOFTMAX,
    "count:poisson": Link.EXP,
    "reg:gamma": Link.EXP,
    "reg:tweedie": Link.EXP,
    "survival:cox": Link.EXP,
    "survival:aft": Link.EXP,
}
IDENTITIES = (
    "reg:squarederror",
    "reg:squaredlogerror",
    "reg:pseudohubererror",
    "reg:absoluteerror",
    "reg:quantileerror",
    "reg:expectileerror",
    "binary:logitraw",
    "rank:pairwise",
    "rank:ndcg",
    "rank:map",
)
"""Objectives whose answer is the score."""
LOG_ODDS = ("binary:logistic", "reg:logistic")
"""Objectives that keep `base_score` as a probability."""


class XGBoostJson:
    """A model's JSON. Raises `ValueError`, `TypeError` or `KeyError` when it is none."""

    def __init__(self, data: bytes) -> None:
        self._learner: dict[str, Any] = json.loads(data)["learner"]
        self._parameters: dict[str, str] = self._learner["learner_model_param"]
        self.objective = str(self._learner["objective"]["name"])
        self.features = int(self._parameters["num_feature"])
        self._classes = int(self._parameters["num_class"])
        self.targets = max(1, self._classes, int(self._parameters.get("num_target", 1)))
        booster = self._learner["gradient_booster"]
        self.booster = str(booster["name"])
        self._weight_drop: list[float] | None = booster.get("weight_drop")
        self._model: dict[str, Any] = booster.get("gbtree", booster)["model"]

    @property
    def labels(self) -> np.ndarray | None:
        """int64[classes]; None for what is no classifier, or answers several questions at once."""
        if self.objective not in CLASSIFIERS:
            return None
        if self.objective.startswith("multi:"):
            return np.arange(self.targets, dtype=np.int64)
        return np.arange(2, dtype=np.int64) if self.targets == 1 else None

    @property
    def rounds(self) -> int:
        """How many rounds answer: all of them (0), but for a file of the scikit-learn interface those up to
        `best_iteration`, as each interface does itself."""
        attributes = self._learner.get("attributes", {})
        if "scikit_learn" not in attributes or self.booster == "gblinear":
            return 0
        return int(attributes["best_iteration"]) + 1 if "best_iteration" in attributes else 0

    def read(self) -> BoostedModel:
        """The whole model. Raises `ConversionError` for an objective whose link is not known."""
        if self.objective not in LINKS and self.objective not in IDENTITIES:
            raise ConversionError(f"XGBoost's objective {self.objective!r} has no known link to convert")
        linear = self.booster == "gblinear"
        trees = () if linear else self._trees()
        categorical = {int(tree.feature[node]) for tree in trees for node in tree.members}
        base = self._base()
        weights = None
        if linear:
            table = np.array(self._model["weights"], dtype=np.float64).reshape(self.features + 1, self.targets)
            # XGBoost 3.2's linear booster adds the first target's `base_score` to all of them.
            weights, base = table[:-1], base[0] + table[-1]
        return BoostedModel(
            features=self.features,
            targets=self.targets,
            link=LINKS.get(self.objective, Link.IDENTITY),
            comparison=Comparison.BELOW,
            trees=trees,
            base=base,
            labels=self.labels,
            treatments=dict.fromkeys(categorical, Treatment.FLOOR),
            weights=weights,
        )

    def _base(self) -> np.ndarray:
        """What the trees add to: `base_score` is kept as an answer, and taken back through the link."""
        written = np.array(json.loads(str(self._parameters["base_score"])), dtype=np.float64)
        base = np.broadcast_to(written.reshape(-1), (self.targets,))
        if self.objective in LOG_ODDS:
            return np.asarray(np.log(base) - np.log1p(-base))
        return np.log(base) if LINKS.get(self.objective) is Link.EXP else base

    def _trees(self) -> tuple[Tree, ...]:
        documents, groups = self._model["trees"], self._model["tree_info"]
        last = self._model["iteration_indptr"][self.rounds] if self.rounds else len(documents)
        drop = self._weight_drop or [1.0] * len(documents)
        return tuple(_tree(documents[index], int(groups[index]), drop[index]) for index in range(last))


def _tree(document: dict[str, Any], group: int, weight: float) -> Tree:
    left = np.array(document["left_children"], dtype=np.int64)
    right = np.array(document["right_children"], dtype=np.int64)
    leaf = left == -1
    # A category that is in the set goes right, a value below the threshold left.
    members = _members(document)
    categorical = np.zeros(len(left), dtype=bool)
    categorical[list(members)] = True
    default_left = np.array(document["default_left"], dtype=bool)
    return Tree(
        feature=np.where(leaf, LEAF, np.array(document["split_indices"], dtype=np.int64)),
        threshold=np.array(document["split_conditions"], dtype=np.float64),
        true_child=np.where(categorical, right, left),
        false_child=np.where(categorical, left, right),
        missing_true=(default_left ^ categorical) & ~leaf,
        values=_leaf_values(document, leaf, right) * np.float32(weight),
        target=group,
        members=members,
    )


def _leaf_values(document: dict[str, Any], leaf: np.ndarray, right: np.ndarray) -> np.ndarray:
    """float32[nodes, columns]; a leaf's own value stands among the thresholds, a vector apart, numbered where an inner
    node has its right child."""
    columns = int(document["tree_param"]["size_leaf_vector"])
    if columns <= 1:
        return np.where(leaf, np.array(document["split_conditions"], dtype=np.float32), np.float32(0)).reshape(-1, 1)
    if "leaf_weights" not in document:  # XGBoost 3.0
        return np.array(document["base_weights"], dtype=np.float32).reshape(-1, columns)
    values = np.zeros((len(leaf), columns), dtype=np.float32)
    vectors = np.array(document["leaf_weights"], dtype=np.float32).reshape(-1, columns)
    values[leaf] = vectors[right[leaf]]
    return values


def _members(document: dict[str, Any]) -> dict[int, np.ndarray]:
    categories = np.array(document.get("categories", []), dtype=np.int64)
    spans = zip(
        document.get("categories_nodes", []),
        document.get("categories_segments", []),
        document.get("categories_sizes", []),
        strict=True,
    )
    return {int(node): categories[start : start + size] for node, start, size in spans}
