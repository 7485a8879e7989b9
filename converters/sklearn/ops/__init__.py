"""ONNX translations of scikit-learn's estimators, one file for each family.

skl2onnx 1.20 stays the frame (types, names, the final graph) and takes what has no translation here; with
scikit-learn 1.9 many of its converters fail, do not load at double width, or round where scikit-learn does not.
`registry.py` says what a translation is, `graph.py` what it writes with.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

FAMILIES = (
    "calibration",
    "cluster",
    "compose",
    "decomposition",
    "discriminant",
    "dummy",
    "encoders",
    "ensembles",
    "gaussian_process",
    "gradient_boosting",
    "imputers",
    "kernel_approximation",
    "linear",
    "manifold",
    "mixture",
    "multiclass",
    "multioutput",
    "naive_bayes",
    "neighbors",
    "neural",
    "outliers",
    "polynomials",
    "quantiles",
    "scaling",
    "selection",
    "svm",
    "target_labels",
    "trees",
)


def register(estimator: Any) -> bool:
    """Makes skl2onnx use these translations for a fitted estimator; False where it has none."""
    for family in FAMILIES:
        import_module(f"{__name__}.{family}")
    from converters.sklearn.ops.registration import register_type

    return register_type(estimator)
