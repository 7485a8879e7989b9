"""Which function translates which method of which estimator, and how translations call one another.

A translation is a function of the graph, the fitted estimator and its input: `x`, float64[N, columns], or the whole
`Table` where columns may be text. It returns one value for each array that scikit-learn's method would return. The
estimators are named, not imported; a subclass of an estimator is another estimator and not translated.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from converters.sklearn.ops.graph import Graph, Value
from converters.sklearn.ops.table import Table

Translation = Callable[[Graph, Any, Any], Any]
Function = TypeVar("Function", bound=Translation)

TRANSLATIONS: dict[tuple[str, str], Translation] = {}
"""(estimator, method) -> translation."""
TAKES_TABLE: set[Translation] = set()


class NotTranslated(Exception):
    """The estimator, or this setting of it, has no translation; the message says which and why."""


def translates(method: str, *estimators: str, table: bool = False) -> Callable[[Function], Function]:
    """Registers a function for a method of the named estimators. Twice for one of them is an error."""

    def register(function: Function) -> Function:
        for name in estimators:
            if (name, method) in TRANSLATIONS:
                raise ValueError(f"{name}.{method} is translated twice")
            TRANSLATIONS[name, method] = function
        if table:
            TAKES_TABLE.add(function)
        return function

    return register


def remembers(function: Function) -> Function:
    """For the costly part of a translation: the same estimator and input get the values written first."""

    @wraps(function)
    def once(g: Graph, est: Any, x: Any) -> Any:
        blocks = x.blocks if isinstance(x, Table) else (x,)
        key = function.__qualname__, function.__module__, id(est), tuple(block.name for block in blocks)
        if key not in g.memory:
            g.memory[key] = function(g, est, x)
        return g.memory[key]

    return cast(Function, once)


def is_translated(estimator: Any, method: str) -> bool:
    """Whether there is a translation of that method for exactly this class of scikit-learn's own."""
    kind = type(estimator)
    return kind.__module__.partition(".")[0] == "sklearn" and (kind.__name__, method) in TRANSLATIONS


def call(g: Graph, estimator: Any, method: str, x: Value | Table) -> Any:
    """What `estimator.method(x)` gives. What has no translation is left to skl2onnx's own converter.

    Raises `NotTranslated` for a setting that a translation does not know.
    """
    table = x if isinstance(x, Table) else Table.of(x)
    if not is_translated(estimator, method):
        from converters.sklearn.ops.foreign import call_foreign

        return call_foreign(g, estimator, method, table)
    function = TRANSLATIONS[type(estimator).__name__, method]
    return function(g, estimator, table if function in TAKES_TABLE else table.matrix())


def has_method(estimator: Any, method: str) -> bool:
    """Whether the fitted estimator offers that method."""
    return callable(getattr(estimator, method, None))
