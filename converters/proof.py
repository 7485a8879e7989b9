"""What the parity gate has said of a conversion, and whether that is enough to serve it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from converters.base import Conversion
from converters.samples import Samples
from model_store.errors import ConversionError
from model_store.manifest import ParityReport


@dataclass(frozen=True)
class Evidence:
    """What the gate found, and the inputs that it drew."""

    samples: Samples
    parity: ParityReport


@dataclass(frozen=True)
class Proven:
    """A conversion that may be served: it passed the gate, or says itself why nothing can be compared."""

    conversion: Conversion
    evidence: Evidence | None


def acceptable(conversion: Conversion, parity: ParityReport) -> bool:
    """Rows that are padded must not notice it. A native model may be random, as it is the source itself."""
    if conversion.fixed_batch is not None and not parity.row_independent:
        return False
    return parity.passed or (conversion.runtime != "onnx" and not parity.deterministic)


def not_equal(parity: ParityReport) -> ConversionError:
    """The error for a conversion that is not acceptable; its details carry the report."""
    what = parity.reason or "rows of a batch are not independent"
    return ConversionError(
        f"the converted model does not compute what {parity.reference} computes: {what}",
        parity=msgspec.to_builtins(_finite(parity)),
    )


def _finite(report: ParityReport) -> ParityReport:
    """JSON has no infinity; an error with nothing to relate it to is shown as the largest float."""
    largest = float.fromhex("0x1.fffffffffffffp+1023")

    def bound(value: float) -> float:
        return value if math.isfinite(value) else largest

    outputs = tuple(msgspec.structs.replace(each, max_rel_error=bound(each.max_rel_error)) for each in report.outputs)
    return msgspec.structs.replace(report, max_rel_error=bound(report.max_rel_error), outputs=outputs)
