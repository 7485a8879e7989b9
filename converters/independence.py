"""Whether a model answers each row of a batch as if it came alone, and the same inputs always the same.

Only versions whose rows are independent may have the rows of different requests merged into one batch.
"""

from __future__ import annotations

import numpy as np

from converters.base import Arrays, Run
from converters.comparison import equal_rows, scale_of
from converters.samples import Samples
from model_store.manifest import Signature

ROW_RTOL = 1e-5
"""How much a row's answer may move with its company: kernels round differently at different batches."""


def rows_independent(run: Run, signature: Signature, samples: Samples, batch: int) -> bool:
    """Whether each row of a batch is answered as if it came alone.

    Rows of one batch are run alone, and again at another place among other rows. False as well when the batch
    is fixed, or an input or output has no batch dimension.
    """
    specs = (*signature.inputs, *signature.outputs)
    if batch < 2 or any(spec.shape[:1] != (-1,) for spec in specs):
        return False
    size = samples.inner_sizes[0]
    first, second = samples.draw(batch, 0, inner_size=size), samples.draw(batch, 1, inner_size=size)
    together = run(first)
    scales = {name: scale_of(np.asarray(array)) for name, array in together.items()}

    def same(answer: Arrays, place: int, row: int) -> bool:
        return all(
            equal_rows(together[name][row : row + 1], answer[name][place : place + 1], scales[name], ROW_RTOL)
            for name in together
        )

    rows = sorted({0, batch // 2, batch - 1})
    places = {row: (row + 1) % batch for row in rows}
    mixed = {name: array.copy() for name, array in second.items()}
    for name, array in mixed.items():
        for row, place in places.items():
            array[place] = first[name][row]
    moved = run(mixed)
    return all(
        same(run({name: array[row : row + 1] for name, array in first.items()}), 0, row)
        and same(moved, places[row], row)
        for row in rows
    )


def first_difference(first: Arrays, second: Arrays) -> str | None:
    """The first output that differs between two answers for the same inputs; None when all are the same."""
    for name, array in first.items():
        left, right = np.asarray(array), np.asarray(second[name])
        if not equal_rows(left, right, scale_of(left), ROW_RTOL):
            return name
    return None
