"""How far the answers of one version are from another's: plain data that gateways gather and the controller adds up.

The arithmetic of a single pair of tensors is the parity gate's (`converters/comparison.py`); who is compared, and when,
is `serve/rollouts/shadowing.py`'s.
"""

from __future__ import annotations

import json

import msgspec
import numpy as np

from converters.comparison import OutputComparison
from model_store.manifest import TensorSpec
from serve.inference import Tensors
from serve.metrics.buckets import add_counts
from serve.rollouts.histogram import Histogram

ERROR_UNIT = 1e-9
"""Relative errors are counted in multiples of this, up to `MAX_ERROR`."""

MAX_ERROR = 1e6
"""Stands for larger errors too, as for what should be zero and is not."""

DISAGREES_FROM = 0.1
"""From this relative error on an answer without classes, as a regression's, counts as a different one."""

MOST_OUTPUTS = 64
"""Outputs that are told apart; further ones only count in whether answers agree."""


class OutputDifference(msgspec.Struct):
    """One output over all compared answers.

    `agreeing_rows` of `rows` have the same class: the largest score of a row, an equal integer or text. `errors` are
    the largest errors of each answer's floats, relative to the largest magnitude of the reference's, in `ERROR_UNIT`.
    `mismatches` counts answers that can't be compared in numbers: `missing`, `datatype`, `shape`, and `special` for NaN
    or infinity in other places.
    """

    rows: int = 0
    agreeing_rows: int = 0
    errors: Histogram = msgspec.field(default_factory=Histogram)
    max_error: float = 0.0
    mismatches: dict[str, int] = {}

    def add(self, reference: np.ndarray, tensor: np.ndarray | None) -> bool:
        """Takes in one answer; whether the two agree."""
        mismatch = _mismatch(reference, tensor)
        if mismatch is None:
            assert tensor is not None
            compared = OutputComparison(TensorSpec("", "", (-1,) * max(reference.ndim, 1)), exact=False)
            compared.add(np.atleast_1d(reference), np.atleast_1d(tensor), "")
            if compared.mismatch is None:
                return self._count(compared, floating=reference.dtype.kind not in "iubOSU")
            mismatch = "special"
        self.mismatches[mismatch] = self.mismatches.get(mismatch, 0) + 1
        return False

    def _count(self, compared: OutputComparison, *, floating: bool) -> bool:
        self.rows += compared.rows
        self.agreeing_rows += compared.agreeing_rows
        error = 0.0
        if floating:
            error = min(compared.max_rel_error, MAX_ERROR)
            self.errors.add(int(error / ERROR_UNIT))
            self.max_error = max(self.max_error, error)
        return compared.agreeing_rows == compared.rows if compared.rows else error < DISAGREES_FROM

    def count_row(self, *, agrees: bool) -> bool:
        """Takes in one row that is only equal or not; returns `agrees`."""
        self.rows += 1
        self.agreeing_rows += agrees
        return agrees

    def merge(self, other: OutputDifference) -> None:
        """Takes in what another gateway gathered."""
        self.rows += other.rows
        self.agreeing_rows += other.agreeing_rows
        self.errors.merge(other.errors)
        self.max_error = max(self.max_error, other.max_error)
        add_counts(self.mismatches, other.mismatches)


class Comparison(msgspec.Struct):
    """What copies of one version's calls came to in another, since `since_ms` (milliseconds since 1970).

    Of the copies, `compared` were answered by both, `failures` tells the kinds of error of those that the second one
    did not answer, and `dropped` were never made, or given up, because it was busy. `agreeing` of the compared are the
    same answer in every output. Latencies are nanoseconds, of the compared.
    """

    since_ms: int
    compared: int = 0
    agreeing: int = 0
    failures: dict[str, int] = {}
    dropped: int = 0
    outputs: dict[str, OutputDifference] = {}
    reference_latency: Histogram = msgspec.field(default_factory=Histogram)
    latency: Histogram = msgspec.field(default_factory=Histogram)

    def add(self, reference: Tensors, outputs: Tensors) -> None:
        """Takes in a pair of answers in tensors."""
        agree = [self._output(name).add(tensor, outputs.get(name)) for name, tensor in reference.items()]
        for name in outputs.keys() - reference.keys():
            agree.append(self._output(name).add(outputs[name], None))
        self._count(agrees=all(agree))

    def add_bodies(self, reference: Tensors, outputs: Tensors) -> None:
        """Takes in a pair of answers in rows of raw bodies (`serve/payloads.py`)."""
        agree = [
            self._output("body").count_row(agrees=bool(status == other) and equal_bodies(body, other_body))
            for status, other, body, other_body in zip(
                reference["status"], outputs["status"], reference["body"], outputs["body"], strict=True
            )
        ]
        self._count(agrees=all(agree))

    def count_failure(self, kind: str) -> None:
        """A copy was answered with an error."""
        self.failures[kind] = self.failures.get(kind, 0) + 1

    def count_latencies(self, reference_ns: int, ns: int) -> None:
        """How long the two answers of a pair took."""
        self.reference_latency.add(reference_ns)
        self.latency.add(ns)

    def merge(self, other: Comparison) -> None:
        """Takes in what another gateway gathered."""
        self.since_ms = min(self.since_ms, other.since_ms)
        self.compared += other.compared
        self.agreeing += other.agreeing
        self.dropped += other.dropped
        add_counts(self.failures, other.failures)
        for name, output in other.outputs.items():
            self._output(name).merge(output)
        self.reference_latency.merge(other.reference_latency)
        self.latency.merge(other.latency)

    def _count(self, *, agrees: bool) -> None:
        self.compared += 1
        self.agreeing += agrees

    def _output(self, name: str) -> OutputDifference:
        known = self.outputs.get(name)
        if known is None:
            known = OutputDifference()
            if len(self.outputs) < MOST_OUTPUTS:
                self.outputs[name] = known
        return known


def equal_bodies(reference: bytes, body: bytes) -> bool:
    """Whether two bodies say the same: equal bytes, or equal JSON."""
    if reference == body:
        return True
    try:
        return bool(json.loads(reference) == json.loads(body))
    except (ValueError, RecursionError):
        return False


def _mismatch(reference: np.ndarray, tensor: np.ndarray | None) -> str | None:
    if tensor is None:
        return "missing"
    if reference.dtype != tensor.dtype:
        return "datatype"
    return None if reference.shape == tensor.shape else "shape"
