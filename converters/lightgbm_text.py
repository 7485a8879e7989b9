"""What LightGBM's text model says of itself: objective, classes, thresholds. LightGBM does the predicting."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from converters.thresholds import float32_not_above, group_by_feature

CATEGORICAL_BIT = 1
MISSING_BITS = 0b1100
_FIELD = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)


class LightGBMText:
    """A model as `Booster.save_model` writes it. Raises `KeyError` or `ValueError` when it is none."""

    def __init__(self, text: str) -> None:
        self._header, *self._trees = re.split(r"^(?=Tree=\d)", text, flags=re.MULTILINE)
        self._fields: dict[str, str] = dict(_FIELD.findall(self._header))
        self._features = int(self._fields["max_feature_idx"]) + 1

    @property
    def objective(self) -> str:
        """As 'binary'; empty for a custom one."""
        return (self._fields.get("objective", "").split() or [""])[0]

    @property
    def classes(self) -> int:
        """Number of classes; 0 for what is no classifier."""
        if self.objective in ("multiclass", "multiclassova"):
            return int(self._fields["num_class"])
        return 2 if self.objective == "binary" else 0

    @property
    def missing(self) -> bool:
        """Whether any split sends missing values somewhere of its own."""
        return any(decision & MISSING_BITS for _, _, decision in self._splits())

    def thresholds(self) -> list[np.ndarray]:
        """The values that each feature is compared with; categories count as values."""
        numeric = [each for each in self._splits() if not each[2] & CATEGORICAL_BIT]
        groups = group_by_feature([s[0] for s in numeric], [s[1] for s in numeric], self._features)
        return [
            group if len(group) else categories for group, categories in zip(groups, self._categories(), strict=True)
        ]

    def with_float32_thresholds(self) -> str:
        """The same model for float32 inputs: each threshold is the largest float32 not above it."""
        # `tree_sizes` counts bytes, which change; LightGBM reads the trees one by one without it.
        header = re.sub(r"^tree_sizes=.*\n", "", self._header, flags=re.MULTILINE)
        return header + "".join(map(_round_tree, self._trees))

    def _splits(self) -> Iterator[tuple[int, float, int]]:
        for tree in self._trees:
            fields = dict(_FIELD.findall(tree))
            features = map(int, fields.get("split_feature", "").split())
            thresholds = map(float, fields.get("threshold", "").split())
            decisions = map(int, fields.get("decision_type", "").split())
            yield from zip(features, thresholds, decisions, strict=True)

    def _categories(self) -> list[np.ndarray]:
        """Categories of each feature from `feature_infos`, which holds '[min:max]' for numeric ones."""
        infos = self._fields.get("feature_infos", "").split()
        infos += ["none"] * (self._features - len(infos))
        return [
            np.array([float(each) for each in info.split(":")] if re.fullmatch(r"[\d:\-]+", info) else [])
            for info in infos[: self._features]
        ]


def _round_tree(tree: str) -> str:
    fields = dict(_FIELD.findall(tree))
    thresholds = np.array(fields.get("threshold", "").split(), dtype=np.float64)
    if not len(thresholds):
        return tree
    categorical = np.array(fields["decision_type"].split(), dtype=np.int64) & CATEGORICAL_BIT
    rounded = np.where(categorical, thresholds, float32_not_above(thresholds).astype(np.float64))
    line = " ".join(
        str(int(value)) if kind else repr(float(value)) for value, kind in zip(rounded, categorical, strict=True)
    )
    return re.sub(r"^threshold=.*$", f"threshold={line}", tree, flags=re.MULTILINE)
