"""How far one output is from its reference: the arithmetic of the parity gate, without any running of models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from model_store.datatypes import DTYPES, is_floating
from model_store.manifest import OutputParity, TensorSpec

if TYPE_CHECKING:
    # Gateways compare too, and load nothing that converts.
    from converters.precision import Tolerance

ROUNDINGS = 8
"""How many units in the last place of a narrow output (FP16, BF16) may differ: it can't be held to less."""


@dataclass
class OutputComparison:
    """Gathers the error of one output over all runs of the gate."""

    spec: TensorSpec
    max_abs_error: float = 0.0
    scale: float = 0.0
    worst_run: str = ""
    rows: int = 0
    agreeing_rows: int = 0
    mismatch: str | None = None
    """What differed beyond any tolerance: a shape, an integer, the place of a NaN."""
    exact: bool = True
    """Whether integers and text must be equal in every row; without it rows that agree are counted."""

    def add(self, reference: np.ndarray, converted: np.ndarray, run: str) -> None:
        """Compares one run's output; `run` says which, as 'batch 3, seed 1'."""
        if self.mismatch is None:
            self.mismatch = self._shape_mismatch(reference, converted, run)
        if self.mismatch is not None:
            return
        if is_floating(converted.dtype):
            self._add_floats(reference.astype(np.float64), converted.astype(np.float64), run)
        else:
            self._add_exact(reference, converted, run)

    @property
    def max_rel_error(self) -> float:
        """`max_abs_error` relative to `scale`; infinite when the reference is zero and the output isn't."""
        if self.max_abs_error == 0:
            return 0.0
        return self.max_abs_error / self.scale if self.scale else float("inf")

    def failure(self, tolerance: Tolerance) -> str | None:
        """What is wrong with the output, in words, or None when it agrees within `tolerance`."""
        if self.mismatch is not None:
            return self.mismatch
        wanted = tolerance.class_agreement
        if wanted is not None and self.rows and self.agreeing_rows < wanted * self.rows:
            return (
                f"output {self.spec.name!r} agrees on the class in {self.agreeing_rows} of {self.rows} rows; "
                f"wanted are {wanted:.1%}"
            )
        bound = max(tolerance.rtol, ROUNDINGS * _spacing(self.spec.datatype))
        if self.max_rel_error <= bound:
            return None
        return (
            f"output {self.spec.name!r} differs at {self.worst_run}: error {self.max_rel_error:.2g} of its "
            f"scale {self.scale:.4g}, tolerance {bound:.2g}"
        )

    def result(self, signature: str) -> OutputParity:
        """The figures for the report."""
        agreement = self.agreeing_rows / self.rows if self.rows else None
        return OutputParity(self.spec.name, self.max_abs_error, self.max_rel_error, self.scale, agreement, signature)

    def _shape_mismatch(self, reference: np.ndarray, converted: np.ndarray, run: str) -> str | None:
        if reference.shape != converted.shape:
            return (
                f"output {self.spec.name!r} has shape {list(converted.shape)} at {run}; "
                f"the source's framework gives {list(reference.shape)}"
            )
        declared = self.spec.shape
        fits = len(declared) == converted.ndim and all(
            want in (-1, got) for want, got in zip(declared, converted.shape, strict=True)
        )
        if not fits:
            return (
                f"output {self.spec.name!r} has shape {list(converted.shape)} at {run}; "
                f"the converted model declares {list(declared)}"
            )
        return None

    def _add_floats(self, reference: np.ndarray, converted: np.ndarray, run: str) -> None:
        finite = np.isfinite(reference)
        same_special = np.array_equal(reference[~finite], converted[~finite], equal_nan=True)
        if not same_special or not np.isfinite(converted[finite]).all():
            self.mismatch = f"output {self.spec.name!r} differs at {run}: NaN or infinity in other places"
            return
        error = float(np.abs(reference - converted, where=finite, out=np.zeros_like(reference)).max(initial=0))
        self.scale = max(self.scale, float(np.abs(reference[finite]).max(initial=0)))
        if error > self.max_abs_error or not self.worst_run:
            self.max_abs_error, self.worst_run = max(error, self.max_abs_error), run
        if reference.ndim == 2 and reference.shape[1] > 1 and finite.all():
            self.rows += len(reference)
            self.agreeing_rows += int((reference.argmax(1) == converted.argmax(1)).sum())

    def _add_exact(self, reference: np.ndarray, converted: np.ndarray, run: str) -> None:
        left, right = exact_values(reference), exact_values(converted)
        differing = np.argwhere(left != right)
        if left.dtype.kind in "iub":
            self.scale = max(self.scale, float(np.abs(left.astype(np.float64)).max(initial=0)))
        if not self.exact:
            self.rows += len(left)
            self.agreeing_rows += len(left) - len(np.unique(differing[:, 0]))
        elif len(differing):
            where = tuple(int(index) for index in differing[0])
            self.mismatch = (
                f"output {self.spec.name!r} differs at {run}: {len(differing)} of {left.size} values, the first at "
                f"{list(where)}: {right[where]!r} instead of {left[where]!r}; such values must be equal"
            )


def _spacing(datatype: str) -> float:
    """Relative distance of neighbouring numbers, for datatypes so narrow that it matters."""
    if datatype not in ("FP16", "BF16"):
        return 0.0
    return float(ml_dtypes.finfo(DTYPES[datatype]).eps)  # type: ignore[no-untyped-call]


def exact_values(array: np.ndarray) -> np.ndarray:
    """Values that must be equal, comparable across frameworks: text as `str`, numbers as they are."""
    if array.dtype.kind in "OSU":
        texts = [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel()]
        return np.array(texts, dtype=object).reshape(array.shape)
    return array


def scale_of(array: np.ndarray) -> float:
    """The largest finite magnitude of floating values, which errors are related to; 1 for what must be equal."""
    if not is_floating(array.dtype):
        return 1.0
    wide = array.astype(np.float64)
    return float(np.abs(wide[np.isfinite(wide)]).max(initial=0))


def equal_rows(left: np.ndarray, right: np.ndarray, scale: float, rtol: float) -> bool:
    """Whether two answers for the same row agree, floats within `rtol` of `scale`."""
    if left.shape != right.shape:
        return False
    if not is_floating(left.dtype):
        return bool((exact_values(left) == exact_values(right)).all())
    eps = float(ml_dtypes.finfo(left.dtype).eps)  # type: ignore[no-untyped-call]
    return bool(
        np.allclose(
            left.astype(np.float64),
            right.astype(np.float64),
            rtol=0,
            atol=max(rtol, 8 * eps) * scale,
            equal_nan=True,
        )
    )
