"""Which types a skops file may name.

skops reports what it does not know itself, harmless parts of scikit-learn (the tree of every forest) beside
`os.system`, and builds whatever is approved. So what it reports is never approved as a whole, but held against
the list below.
"""

from __future__ import annotations

import re
from pathlib import Path

from model_store.errors import SourceError, TrustRequired

ALLOWED = frozenset(
    {
        "collections.OrderedDict",
        "numpy.dtype",
        "numpy.random.RandomState",
        "scipy.sparse._csr.csr_matrix",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.compose._column_transformer._RemainderColsList",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._ball_tree.BallTree64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neighbors._kd_tree.KDTree64",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)
"""Types that hold numbers and options. Each was looked at: none calls, imports or opens what its state names.
`sklearn.tree._tree.Tree` follows indexes without bounds, so `estimators.vet_trees` checks them after loading."""
ALLOWED_CLASSES = re.compile(
    r"sklearn\._loss\._loss\.Cy\w+"
    r"|sklearn\.metrics\._dist_metrics\.\w*Distance(64)?"
    r"|sklearn\.gaussian_process\.kernels\.[A-Z]\w+"
    r"|sklearn\.neural_network\._stochastic_optimizers\.(Adam|SGD)Optimizer"
    r"|sklearn\.linear_model\._sgd_fast\.[A-Z]\w+"
)


def vet_types(source: Path, *, trust: bool) -> list[str]:
    """The types, beyond those that skops knows, that may be built from the file.

    Raises `TrustRequired` naming all others, unless `trust`; `SourceError` when the file can't be read.
    """
    import skops.io

    try:
        reported = skops.io.get_untrusted_types(file=source)
    except Exception as error:  # a damaged file shows itself as nearly anything
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SourceError(f"source {source.name!r} is cut off or damaged: {line[:300]}") from error
    refused = [name for name in reported if not allowed(name)]
    if refused and not trust:
        raise TrustRequired(
            f"source {source.name!r} names {', '.join(refused)}, which could run code; "
            "build the model from scikit-learn's own estimators, or say `trust: true`",
            names=refused,
        )
    return list(reported)


def allowed(name: str) -> bool:
    """Whether a type of that dotted name only holds data."""
    return name in ALLOWED or ALLOWED_CLASSES.fullmatch(name) is not None
