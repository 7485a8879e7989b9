"""Small data that the estimators of the tables are fitted on, and the rows that they are asked about.

All numbers are exact in float32, so that the answers hold for either width of the interface.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

ROWS, COLUMNS = 60, 5
BATCHES = (1, 5)

Data = tuple[Any, Any, np.ndarray]
"""What the estimator is fitted on (X, y), and the rows that it is asked about, the largest batch."""
Source = Callable[[], Data]


@cache
def _numbers() -> tuple[np.ndarray, np.ndarray]:
    """float64[ROWS + 5, COLUMNS], and a class for each row."""
    generator = np.random.default_rng(7)
    classes = np.arange(ROWS + max(BATCHES)) % 3
    centres = np.array([[2, 0, -1, 0, 1], [-2, 1, 0, 1, 0], [0, -2, 1, -1, -1]], float)
    rows = generator.normal(size=(len(classes), COLUMNS)) * 0.9 + centres[classes]
    return rows.astype(np.float32).astype(float), classes


def _split(rows: np.ndarray, target: np.ndarray | None) -> Data:
    return rows[:ROWS], None if target is None else target[:ROWS], rows[ROWS:]


def three() -> Data:
    rows, classes = _numbers()
    return _split(rows, np.array(["cat", "dog", "owl"])[classes])


def two() -> Data:
    rows, classes = _numbers()
    return _split(rows, (classes > 0).astype(int))


def codes() -> Data:
    """Three classes as numbers."""
    rows, classes = _numbers()
    return _split(rows, classes * 10)


def several_labels() -> Data:
    rows, classes = _numbers()
    return _split(rows, np.stack([classes > 0, rows[:, 0] > 0.5, rows[:, 1] + rows[:, 2] > 0], axis=1).astype(int))


def half_known() -> Data:
    """Three classes, most rows without a label."""
    rows, classes = _numbers()
    return _split(
        rows, np.where(np.arange(len(rows)) % 3 == 1, classes, np.where(np.arange(len(rows)) < 12, classes, -1))
    )


def line() -> Data:
    rows, _ = _numbers()
    return _split(rows, rows @ np.array([1.5, -2.0, 0.5, 0.0, 1.0]) + np.sin(rows[:, 0] * 2))


def positive_line() -> Data:
    rows, _ = _numbers()
    return _split(rows, np.exp(rows @ np.array([0.3, -0.2, 0.1, 0.0, 0.2])) + 0.1)


def two_lines() -> Data:
    rows, _ = _numbers()
    return _split(rows, rows @ np.array([[1.5, -1.0], [-2.0, 0.5], [0.5, 0.0], [0.0, 1.0], [1.0, 2.0]]) + 0.5)


def plain() -> Data:
    rows, _ = _numbers()
    return _split(rows, None)


def positive() -> Data:
    rows, classes = _numbers()
    return _split(np.abs(rows) + 0.25, classes)


def counts() -> Data:
    rows, classes = _numbers()
    return _split(np.floor(np.abs(rows) * 2), np.array(["cat", "dog", "owl"])[classes])


def small_numbers() -> Data:
    """Categories as numbers from 0 to 3."""
    rows, classes = _numbers()
    return _split(np.clip(np.floor(np.abs(rows) * 1.5), 0, 3), classes)


def shares() -> Data:
    rows, classes = _numbers()
    return _split((1 / (1 + np.exp(-rows))).astype(np.float32).astype(float), classes)


def one_column() -> Data:
    rows, _ = _numbers()
    return _split(rows[:, :1], rows[:, 0] * 2 + np.sin(rows[:, 1]))


def one_column_inside() -> Data:
    """The rows asked about lie among those it is fitted on."""
    rows, target, _ = one_column()
    return rows, target, rows[: max(BATCHES)]


def holes() -> Data:
    """Some numbers are missing, also in the rows asked about."""
    rows, classes = _numbers()
    rows = rows.copy()
    gaps = np.random.default_rng(3).random(rows.shape) < 0.15
    gaps[:, 4] = False
    rows[gaps] = np.nan
    return _split(rows, classes)


def empty_column() -> Data:
    """One column has no number at all."""
    rows, classes, ask = (np.array(each) for each in holes())
    rows[:, 2], ask[:, 2] = np.nan, np.nan
    return rows, classes, ask


def holes_line() -> Data:
    rows, _, ask = holes()
    return rows, line()[1], ask


def zeros_missing() -> Data:
    """Zero stands for a missing number."""
    rows, classes, ask = holes()
    return np.nan_to_num(rows), classes, np.nan_to_num(ask)


def words() -> Data:
    """Two columns of text; the rows asked about hold known words only."""
    rows, classes = _numbers()
    colours = np.array(["blue", "green", "red", "white"], dtype=object)[
        np.clip(np.floor(np.abs(rows[:, 0])), 0, 3).astype(int)
    ]
    sizes = np.array(["large", "medium", "small"], dtype=object)[classes]
    table = np.stack([colours, sizes], axis=1)
    table[ROWS:] = table[: len(table) - ROWS]
    return table[:ROWS], (classes > 0).astype(int)[:ROWS], table[ROWS:]


def word_numbers() -> Data:
    rows, _, ask = words()
    return rows, line()[1], ask


def class_names() -> Data:
    """A target of class names."""
    _, classes = _numbers()
    named = np.array(["cat", "dog", "owl"], dtype=object)[classes]
    return named[:ROWS], None, named[ROWS:]


def class_numbers() -> Data:
    _, classes = _numbers()
    return classes[:ROWS] * 10, None, classes[ROWS:] * 10


def kernel_matrix() -> Data:
    rows, _ = _numbers()
    known = np.exp(-((rows[:, None] - rows[None, :ROWS]) ** 2).sum(2) / 4).astype(np.float32).astype(float)
    return known[:ROWS], None, known[ROWS:]


def kernel_classes() -> Data:
    rows, _, ask = kernel_matrix()
    return rows, three()[1], ask


def texts() -> Data:
    known = np.array(["the cat sat", "the dog ran home", "owls fly at night", "a dog and a cat", "night owls sleep"])
    repeated = np.tile(known, 4)
    return repeated, None, known


def unfitted() -> Data:
    """For what is fitted by its settings alone."""
    return plain()


def dictionaries() -> Data:
    rows = np.array([{"a": 1.0, "b": 2.0}, {"a": 3.0, "c": "x"}] * 4, dtype=object)
    return rows, None, rows[:5]


def label_sets() -> Data:
    rows = np.empty(6, dtype=object)
    rows[:] = [("a",), ("a", "b"), ("c",), (), ("b", "c"), ("a",)]
    return rows, None, rows[:5]


def images() -> Data:
    rows, _ = _numbers()
    pictures = rows[:20].reshape(5, 4, 5)
    return pictures, None, pictures
