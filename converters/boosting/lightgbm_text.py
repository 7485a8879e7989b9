"""LightGBM's text model, as `Booster.save_model` writes it, read into `BoostedModel`.

The format is described by its writer, `GBDT::SaveModelToString` and `Tree::ToString` in LightGBM's sources; what a
decision means by `Tree::NumericalDecision` and `Tree::CategoricalDecision` in `include/LightGBM/tree.h`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from converters.boosting.onnx_graph import ZERO_THRESHOLD
from converters.boosting.trees import LEAF, BoostedModel, Comparison, LinearLeaves, Link, Treatment, Tree
from model_store.errors import ConversionError

CATEGORICAL_BIT = 1
DEFAULT_LEFT_BIT = 2
ZERO_IS_MISSING = 1
"""Of the two bits above, which say what counts as missing: 2 is NaN, and 0 is nothing, NaN is then taken for zero."""
CLASSIFIERS = ("binary", "multiclass", "multiclassova")
LINKS = {
    "binary": Link.SIGMOID,
    "multiclass": Link.SOFTMAX,
    "multiclassova": Link.SIGMOID,
    "cross_entropy": Link.SIGMOID,
    "cross_entropy_lambda": Link.LOG1P_EXP,
    "poisson": Link.EXP,
    "gamma": Link.EXP,
    "tweedie": Link.EXP,
}
IDENTITIES = ("", "regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg")
"""Objectives whose answer is the score; the empty one is a function of the user's own."""
_FIELD = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)


class LightGBMText:
    """A model's text. Raises `KeyError` or `ValueError` when it is none, or not whole: LightGBM 4.7 ends the process
    when it reads such a text."""

    def __init__(self, text: str) -> None:
        head, *trees = re.split(r"^(?=Tree=\d)", text.partition("end of trees\n")[0], flags=re.MULTILINE)
        self._fields: dict[str, str] = dict(_FIELD.findall(head))
        _vet_sizes(trees, self._fields)
        self._trees: list[dict[str, str]] = [dict(_FIELD.findall(tree)) for tree in trees]
        self._averaged = re.search(r"^average_output$", head, re.MULTILINE) is not None
        self.features = int(self._fields["max_feature_idx"]) + 1
        for number, fields in enumerate(self._trees):
            _vet_tree(number, fields, self.features)
        self.targets = int(self._fields.get("num_tree_per_iteration", self._fields["num_class"]))
        self._objective_words = self._fields.get("objective", "").split()

    @property
    def objective(self) -> str:
        """As 'binary'; empty for a custom one."""
        return (self._objective_words or [""])[0]

    @property
    def labels(self) -> np.ndarray | None:
        """int64[classes]; None for what is no classifier."""
        if self.objective not in CLASSIFIERS:
            return None
        return np.arange(max(2, self.targets), dtype=np.int64)

    def read(self) -> BoostedModel:
        """The whole model. Raises `ConversionError` for an objective whose link is not known, and for a feature whose
        missing values mean different things in different trees."""
        treatments: dict[int, Treatment | None] = {}
        scale = self.targets / max(1, len(self._trees)) if self._averaged else 1.0
        trees = tuple(
            _tree(fields, index % self.targets, scale, treatments) for index, fields in enumerate(self._trees)
        )
        linear = any(fields.get("is_linear", "0").strip() == "1" for fields in self._trees)
        return BoostedModel(
            features=self.features,
            targets=self.targets,
            link=self._link(),
            comparison=Comparison.NOT_ABOVE,
            trees=trees,
            base=np.zeros(self.targets),
            labels=self.labels,
            scale=self._parameter("sigmoid", 1.0),
            treatments={feature: each for feature, each in treatments.items() if each is not None},
            double=True,
            linear_leaves=_linear_leaves(self._trees, self.features, scale) if linear else None,
        )

    def _link(self) -> Link:
        if self.objective in LINKS:
            return LINKS[self.objective]
        if self.objective not in IDENTITIES:
            raise ConversionError(f"LightGBM's objective {self.objective!r} has no known link to convert")
        return Link.SIGNED_SQUARE if "sqrt" in self._objective_words[1:] else Link.IDENTITY

    def _parameter(self, name: str, default: float) -> float:
        """A parameter of the objective, which stands behind it as 'name:value'."""
        parameters = dict(word.split(":", 1) for word in self._objective_words[1:] if ":" in word)
        return float(parameters.get(name, default))


def _vet_sizes(trees: list[str], fields: dict[str, str]) -> None:
    if "tree_sizes" not in fields:
        return
    wanted = [int(size) for size in fields["tree_sizes"].split()]
    sizes = [len(tree.encode()) for tree in trees]
    # Behind the last tree old versions go on without a line between.
    if wanted[:-1] != sizes[:-1] or len(wanted) != len(sizes) or wanted[-1:] > sizes[-1:]:
        raise ValueError(f"expected {len(wanted)} trees of the sizes in the header, found {len(sizes)} of others")


def _vet_tree(number: int, fields: dict[str, str], features: int) -> None:
    """Raises `ValueError` where lists are shorter than the tree, or nodes lead outside of it."""
    leaves = int(fields["num_leaves"])
    inner = leaves - 1
    wanted = {"leaf_value": leaves}
    if inner:
        wanted |= dict.fromkeys(("split_feature", "threshold", "decision_type", "left_child", "right_child"), inner)
    for name, count in wanted.items():
        if len(fields.get(name, "").split()) != count:
            raise ValueError(f"tree {number} has {leaves} leaves, but its list {name!r} is of another length")
    children = np.concatenate([_numbers(fields, name, np.int64) for name in ("left_child", "right_child")])
    parents = np.tile(np.arange(inner), 2)
    columns = _numbers(fields, "split_feature", np.int64)
    inside = np.where(children < 0, ~children < leaves, (children > parents) & (children < inner))
    if not inside.all() or not ((columns >= 0) & (columns < features)).all():
        raise ValueError(f"tree {number} has nodes that lead outside of it")


def _numbers(fields: dict[str, str], name: str, dtype: Any) -> np.ndarray:
    return np.array(fields.get(name, "").split(), dtype=np.float64).astype(dtype)


def _tree(fields: dict[str, str], target: int, scale: float, treatments: dict[int, Treatment | None]) -> Tree:
    leaf_values = _numbers(fields, "leaf_value", np.float64) * scale
    features = _numbers(fields, "split_feature", np.int64)
    inner, leaves = len(features), len(leaf_values)
    if inner == 0:
        return Tree.of_one_leaf(leaf_values[:1], target)
    decisions = _numbers(fields, "decision_type", np.int64)
    thresholds = _numbers(fields, "threshold", np.float64)
    categorical = (decisions & CATEGORICAL_BIT) != 0
    _note_treatments(features, decisions, categorical, treatments)
    filler = np.full(leaves, LEAF)

    def children(name: str) -> np.ndarray:
        indexes = _numbers(fields, name, np.int64)  # leaf n is written as -(n + 1)
        return np.concatenate([np.where(indexes < 0, inner + ~indexes, indexes), filler])

    return Tree(
        feature=np.concatenate([features, filler]),
        threshold=np.concatenate([_about_zero(thresholds), np.zeros(leaves)]),
        true_child=children("left_child"),
        false_child=children("right_child"),
        missing_true=np.concatenate([_nan_goes_left(decisions, thresholds, categorical), np.zeros(leaves, bool)]),
        values=np.concatenate([np.zeros(inner), leaf_values]).reshape(-1, 1),
        target=target,
        members=_members(fields, thresholds, categorical),
    )


def _about_zero(thresholds: np.ndarray) -> np.ndarray:
    """Thresholds that treat all values next to zero as zero itself, as LightGBM rounds those before it looks."""
    below = np.nextafter(-ZERO_THRESHOLD, -1)
    near = np.abs(thresholds) <= ZERO_THRESHOLD
    return np.where(near & (thresholds < 0), below, np.where(near, ZERO_THRESHOLD, thresholds))


def _nan_goes_left(decisions: np.ndarray, thresholds: np.ndarray, categorical: np.ndarray) -> np.ndarray:
    default_left = (decisions & DEFAULT_LEFT_BIT) != 0
    # Where nothing is missing NaN is taken for zero; among categories it is unknown, and unknown goes right.
    goes_left: np.ndarray = np.where(_missing(decisions) == 0, thresholds >= 0, default_left) & ~categorical
    return goes_left


def _missing(decisions: np.ndarray) -> np.ndarray:
    return (decisions >> 2) & 3


def _note_treatments(
    features: np.ndarray, decisions: np.ndarray, categorical: np.ndarray, treatments: dict[int, Treatment | None]
) -> None:
    zeros = _missing(decisions) == ZERO_IS_MISSING
    for feature, category, zero in set(zip(features.tolist(), categorical.tolist(), zeros.tolist(), strict=True)):
        wanted = Treatment.TRUNCATE if category else Treatment.ZERO_IS_MISSING if zero else None
        if treatments.setdefault(feature, wanted) is not wanted:
            raise ConversionError(
                f"feature {feature} of the LightGBM model is a category, or has missing values, in some trees and not "
                "in others (training went on with other settings), which can't be converted"
            )


def _members(fields: dict[str, str], thresholds: np.ndarray, categorical: np.ndarray) -> dict[int, np.ndarray]:
    """Categories that go left, from sets of bits that the thresholds of such nodes number."""
    if not categorical.any():
        return {}
    bounds, words = _numbers(fields, "cat_boundaries", np.int64), _numbers(fields, "cat_threshold", np.int64)
    members = {}
    for node in np.flatnonzero(categorical):
        group = int(thresholds[node])
        bits = words[bounds[group] : bounds[group + 1]].astype("<u4").view(np.uint8)
        members[int(node)] = np.flatnonzero(np.unpackbits(bits, bitorder="little"))
    return members


def _linear_leaves(trees: list[dict[str, str]], features: int, scale: float) -> LinearLeaves:
    first: list[int] = []
    constants: list[float] = []
    fallbacks: list[float] = []
    terms: list[np.ndarray] = []
    coefficients: list[np.ndarray] = []
    for fields in trees:
        values = _numbers(fields, "leaf_value", np.float64)
        linear = fields.get("is_linear", "0").strip() == "1"
        counts = _numbers(fields, "num_features", np.int64) if linear else np.zeros(len(values), np.int64)
        first.append(len(fallbacks))
        fallbacks += values.tolist()
        constants += _numbers(fields, "leaf_const", np.float64).tolist() if linear else values.tolist()
        ends = np.cumsum(counts)[:-1]
        terms += np.split(_numbers(fields, "leaf_features", np.int64), ends)
        coefficients += np.split(_numbers(fields, "leaf_coeff", np.float64), ends)
    width = max(map(len, terms), default=0)
    feature_table = np.full((len(terms), width), features)
    coefficient_table = np.zeros((len(terms), width))
    for leaf, (columns, factors) in enumerate(zip(terms, coefficients, strict=True)):
        feature_table[leaf, : len(columns)] = columns
        coefficient_table[leaf, : len(factors)] = factors
    return LinearLeaves(
        first_leaf=np.array(first),
        features=feature_table,
        coefficients=coefficient_table * scale,
        constants=np.array(constants) * scale,
        fallbacks=np.array(fallbacks) * scale,
    )
