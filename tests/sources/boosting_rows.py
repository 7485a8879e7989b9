"""Rows that all boosted models of the table are trained on and asked about: numbers, a category, holes and zeros."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.sources.table import Call, Tensors

ROWS = 240
CATEGORY = 3
"""The column of categories 0 to 11."""


def rows() -> np.ndarray:
    """float64[240, 5]: three numbers with holes, a category, a number that is zero in half of the rows."""
    generator = np.random.default_rng(11)
    table = generator.normal(size=(ROWS, 5))
    table[:, :3][generator.random((ROWS, 3)) < 0.08] = np.nan
    table[:, CATEGORY] = generator.integers(0, 12, ROWS)
    table[generator.random(ROWS) < 0.5, 4] = 0
    return table


def height() -> np.ndarray:
    """float64[240]: a number to learn, of either sign."""
    known = np.nan_to_num(rows())
    return np.asarray(known[:, 0] * 2 + known[:, 1] + np.isin(known[:, 3], [1, 4, 9]) * 3 + (known[:, 4] == 0))


def count() -> np.ndarray:
    """float64[240]: whole numbers from 1."""
    return np.abs(height()).round() + 1


def answer() -> np.ndarray:
    """int64[240]: one of two classes."""
    return (height() > 1.5).astype(np.int64)


def group() -> np.ndarray:
    """int64[240]: one of three classes."""
    return np.digitize(height(), [0.5, 2.5])


def pair() -> np.ndarray:
    """float64[240, 2]: two numbers at once."""
    return np.stack([height(), np.nan_to_num(rows()[:, 1])], axis=1)


def asked(dtype: type[np.floating] = np.float32) -> np.ndarray:
    """[8, 5]: known rows, with a category that was never seen and others that are none."""
    some = rows()[:8].astype(dtype)
    some[5:, CATEGORY] = [40, -1, np.nan]
    return some


def calls(
    predict: Callable[[np.ndarray], np.ndarray], finish: Callable[[np.ndarray], Tensors], inputs: np.ndarray
) -> tuple[Call, ...]:
    """What the library answers to one row and to all."""
    return tuple(Call({"input": some}, finish(np.asarray(predict(some)))) for some in (inputs[:1], inputs))


def numbers(answers: np.ndarray) -> Tensors:
    """The answers of what is no classifier."""
    return {"output": answers.reshape(len(answers), -1)}


def classes(probabilities: np.ndarray) -> Tensors:
    """The answers of a classifier; a single column is the second class's."""
    if probabilities.ndim == 1:
        probabilities = np.stack([1 - probabilities, probabilities], axis=1)
    return {"label": probabilities.argmax(1), "probabilities": probabilities}
