"""Boosted trees as all three libraries mean them: what their files are read into and ONNX is written from.

Says nothing of file formats (`xgboost_json.py`, `lightgbm_text.py`, `catboost_json.py`) nor of ONNX (`onnx_graph.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from converters.thresholds import float32_not_above, group_by_feature

LEAF = -1
LARGEST_WHOLE_NUMBER = 1 << 24
"""Beyond it float32 does not hold all whole numbers."""


class Comparison(Enum):
    """What sends a value down a node's true branch; the values are ONNX's names."""

    BELOW = "BRANCH_LT"
    NOT_ABOVE = "BRANCH_LEQ"


class Link(Enum):
    """What becomes of the sum of the leaves."""

    IDENTITY = "identity"
    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"
    EXP = "exp"
    LOG1P_EXP = "log1p of exp"
    SIGNED_SQUARE = "square with its sign"
    STEP = "1 above zero, else 0"
    MEAN_AND_VARIANCE = "second of two columns to exp(2x)"


@dataclass(frozen=True)
class Tree:
    """One tree; all arrays are over its nodes, the root first."""

    feature: np.ndarray
    """int64[nodes]; `LEAF` for leaves."""
    threshold: np.ndarray
    """float64[nodes]; of no meaning for leaves and nodes with members."""
    true_child: np.ndarray
    """int64[nodes]: where a value goes that is below the threshold, or among the members."""
    false_child: np.ndarray
    missing_true: np.ndarray
    """bool[nodes]: whether NaN takes the true branch."""
    values: np.ndarray
    """float64[nodes, columns]: what a leaf adds, to `target` and the columns after it."""
    target: int = 0
    members: Mapping[int, np.ndarray] = field(default_factory=dict)
    """Node -> int64[...] of categories that take the true branch."""

    @staticmethod
    def of_one_leaf(values: np.ndarray, target: int = 0) -> Tree:
        """A tree that adds `values` (float64[columns]) to every row."""
        none = np.array([LEAF])
        return Tree(none, np.zeros(1), none, none, np.zeros(1, bool), values.reshape(1, -1), target)


class Treatment(Enum):
    """What a column's values become before they meet the trees."""

    ZERO_IS_MISSING = "values next to zero are NaN"
    FLOOR = "category of XGBoost: rounded down"
    TRUNCATE = "category of LightGBM: rounded towards zero"


@dataclass(frozen=True)
class LinearLeaves:
    """Leaves that are linear models (LightGBM's `linear_tree`), all trees' in one numbering."""

    first_leaf: np.ndarray
    """int64[trees]: number of each tree's first leaf."""
    features: np.ndarray
    """int64[leaves, terms]; the number of columns where a leaf has fewer terms."""
    coefficients: np.ndarray
    """float64[leaves, terms]."""
    constants: np.ndarray
    """float64[leaves]."""
    fallbacks: np.ndarray
    """float64[leaves]: the answer where a feature of the leaf is NaN."""


@dataclass(frozen=True)
class BoostedModel:
    """A whole model. Its score is `base` + the trees' leaves + `weights`; its answer the `link` of that."""

    features: int
    targets: int
    link: Link
    comparison: Comparison
    trees: tuple[Tree, ...]
    base: np.ndarray
    """float64[targets]."""
    labels: np.ndarray | None = None
    """Classes of a classifier, in the order of its probabilities."""
    scale: float = 1.0
    """What the score is multiplied by before a sigmoid."""
    boundary: float = 0.0
    """Score above which the answer is the second of two classes."""
    treatments: Mapping[int, Treatment] = field(default_factory=dict)
    """By feature."""
    linear_leaves: LinearLeaves | None = None
    double: bool = False
    """Whether the library compares and adds in FP64; otherwise it rounds its inputs to FP32 itself."""
    weights: np.ndarray | None = None
    """float64[features, targets] of a linear booster; a missing value counts as 0 there."""

    def splits(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Features and thresholds of each tree's numeric nodes."""
        for tree in self.trees:
            numeric = tree.feature != LEAF
            numeric[list(tree.members)] = False
            yield tree.feature[numeric], tree.threshold[numeric]

    def thresholds(self) -> list[np.ndarray]:
        """The values that each feature is compared with; categories, and those next to them, count as values."""
        pairs = list(self.splits())
        features = [feature for each, _ in pairs for feature in each.tolist()]
        values = [value for _, each in pairs for value in each.tolist()]
        for tree in self.trees:
            for node, members in tree.members.items():
                known = np.concatenate([members, members + 1, members + 0.5, [-1.0, -0.5]])
                features += [int(tree.feature[node])] * len(known)
                values += known.tolist()
        return group_by_feature(features, values, self.features)

    def needs_double(self) -> bool:
        """Whether float32 inputs can't tell what the model tells: thresholds that differ would be the same float32, or
        lie where float32 does not hold all whole numbers (times, identifiers)."""
        limit = float(np.finfo(np.float32).max)  # LightGBM writes 1e300 for "any number"
        for group in self.thresholds():
            inside = group[np.abs(group) < limit]
            same = len(np.unique(float32_not_above(inside))) < len(inside)
            if same or (np.abs(inside) > LARGEST_WHOLE_NUMBER).any():
                return True
        return False
