"""Making a converted model smaller: float16 inside, or int8 weights; and how exact each precision has to be.

Public names and datatypes stay as they are. Whether the smaller model is still right is the parity gate's to say.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """How far a converted model may be from its source."""

    rtol: float
    """Largest error of a floating output, relative to its own scale."""
    class_agreement: float | None
    """Smallest share of rows whose class (arg-max, integer or text) is the same; None where numbers alone count and
    integers and text must be equal."""


TOLERANCES: dict[str, Tolerance] = {
    "float32": Tolerance(rtol=1e-4, class_agreement=None),
    "float16": Tolerance(rtol=1e-2, class_agreement=0.99),
    "int8": Tolerance(rtol=0.1, class_agreement=0.95),
}
"""Precision -> what the gate asks unless the config says otherwise."""
