"""Which types a skops file may name.

skops reports what it does not know itself, harmless parts of scikit-learn (the tree of every forest) beside
`os.system`, and builds whatever is approved. So what it reports is never approved as a whole, but held against
the lists below.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_store.errors import SourceError, TrustRequired, first_line

ALLOWED = frozenset(
    {
        "collections.OrderedDict",
        "functools.partial",
        "numpy.dtype",
        "numpy.random.RandomState",
        "scipy.interpolate._bsplines.BSpline",
        "scipy.sparse._csr.csr_matrix",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.cluster._bisect_k_means._BisectingTree",
        "sklearn.compose._column_transformer._RemainderColsList",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.impute._iterative.IterativeImputer",
        "sklearn.impute._iterative._ImputerTriplet",
        "sklearn.metrics._scorer._CurveScorer",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.metrics._scorer._Scorer",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._ball_tree.BallTree64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neighbors._kd_tree.KDTree64",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        "sklearn.utils._metadata_requests.MetadataRequest",
        "sklearn.utils._metadata_requests.MethodMetadataRequest",
    }
)
"""Types that hold numbers and options. Each was looked at: none calls, imports or opens what its state names, but for
`functools.partial`, whose function skops reports by its own name. Trees and splines follow indexes without bounds, so
`estimators.vet_trees` checks them after loading. SciPy's distributions, which a RandomizedSearchCV may hold, are not
among them: they execute a text of their state; its `best_estimator_` has none."""
ALLOWED_CLASSES = re.compile(
    r"sklearn\._loss\._loss\.Cy\w+"
    r"|sklearn\.metrics\._dist_metrics\.\w*Distance(64)?"
    r"|sklearn\.gaussian_process\.kernels\.[A-Z]\w+"
    r"|sklearn\.model_selection\._search_successive_halving\.Halving(Grid|Random)SearchCV"
    r"|sklearn\.model_selection\._split\.([A-Z]\w+(Fold|Out|Split)|KFold|_CVIterableWrapper)"
    r"|sklearn\.neural_network\._stochastic_optimizers\.(Adam|SGD)Optimizer"
    r"|sklearn\.linear_model\._sgd_fast\.[A-Z]\w+"
)
ALLOWED_FUNCTIONS = re.compile(
    r"numpy\.(max|mean|median|min|sum)"
    r"|scipy\._lib\.array_api_compat\.numpy\._aliases\.asarray"
    r"|sklearn\.cluster\._kmeans\._kmeans_single_(elkan|lloyd)"
    r"|sklearn\.feature_selection\._mutual_info\.mutual_info_(classif|regression)"
    r"|sklearn\.feature_selection\._univariate_selection\.(chi2|f_classif|f_regression|r_regression)"
    r"|sklearn\.metrics\._(classification|ranking|regression)\.[a-z]\w*_(auc|coef|error|loss|score)"
    r"|sklearn\.utils\.validation\.check_array"
)
"""Functions that compute from arrays alone. A file may hold them as settings of estimators, and not have them called
while it is loaded: compiled ones trust the shapes of what they get."""
AS_VALUE = "FunctionNode"
"""skops's word for a function that is held and not called."""


def vet_types(source: Path, *, trust: bool) -> list[str]:
    """The types, beyond those that skops knows, that may be built from the file.

    Raises `TrustRequired` naming all others, unless `trust`; `SourceError` when the file can't be read.
    """
    import skops.io

    try:
        reported = skops.io.get_untrusted_types(file=source)
        called = called_names(source)
    except Exception as error:  # a damaged file shows itself as nearly anything
        line = first_line(error)
        raise SourceError(f"source {source.name!r} is cut off or damaged: {line}") from error
    refused = [name for name in reported if not allowed(name, called=name in called)]
    if refused and not trust:
        raise TrustRequired(
            f"source {source.name!r} names {', '.join(refused)}, which could run code; "
            "build the model from scikit-learn's own estimators, or say `trust: true`",
            names=refused,
        )
    return list(reported)


def allowed(name: str, *, called: bool = True) -> bool:
    """Whether a type of that dotted name only holds data, or a function of that name only computes and is not
    `called` while loading."""
    if name in ALLOWED or ALLOWED_CLASSES.fullmatch(name) is not None:
        return True
    return not called and ALLOWED_FUNCTIONS.fullmatch(name) is not None


def called_names(source: Path) -> frozenset[str]:
    """Dotted names in a skops file's schema that loading it would call: all but the functions that it holds."""
    with zipfile.ZipFile(source) as archive:
        schema = json.loads(archive.read("schema.json"))
    return frozenset(
        f"{node['__module__']}.{node['__class__']}"
        for node in _nodes(schema)
        if "__module__" in node and "__class__" in node and node.get("__loader__") != AS_VALUE
    )


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    stack = [schema]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
