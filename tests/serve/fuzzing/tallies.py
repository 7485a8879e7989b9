"""What a run has seen, in the process that ran it and in the one that tells of it."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field
from typing import Any

from tests.serve.fuzzing.inputs import Input

LIMIT_BYTES = 200 << 20
"""A run of any number of inputs may need so much more than after its first ones."""
LONGEST_SHOWN = 2000

Document = dict[str, Any]
"""A tally as JSON has it."""


@dataclass
class Tally:
    """`told` counts statuses and codes; `failures` has the smallest input of each kind."""

    inputs: int = 0
    told: collections.Counter[str] = field(default_factory=collections.Counter)
    slowest_s: float = 0.0
    """CPU time."""
    slowest: str = ""
    failures: dict[str, str] = field(default_factory=dict)
    grown_bytes: int = 0
    limit_bytes: int = LIMIT_BYTES

    def fail(self, reason: str, request: Input) -> None:
        shown = repr(request)
        if len(shown) < len(self.failures.get(reason, shown + " ")):
            self.failures[reason] = shown

    def document(self, dialect: str) -> Document:
        return {
            "dialect": dialect,
            "inputs": self.inputs,
            "told": dict(sorted(self.told.items())),
            "slowest_s": self.slowest_s,
            "slowest": self.slowest[:LONGEST_SHOWN],
            "grown_bytes": self.grown_bytes,
            "limit_bytes": self.limit_bytes,
            "failures": {reason: shown[:LONGEST_SHOWN] for reason, shown in self.failures.items()},
        }


def died(dialect: str, reason: str) -> Document:
    """The tally of a process that has left none."""
    tally = Tally(failures={reason: ""})
    return tally.document(dialect)


def problems(tally: Document) -> dict[str, str]:
    """What was wrong, and an input that shows it."""
    grown = tally["grown_bytes"]
    too_much = {f"memory grew by {grown >> 20} MiB": ""} if grown > tally["limit_bytes"] else {}
    return {**tally["failures"], **too_much}


def line(tally: Document) -> str:
    """A tally in a line."""
    told = "  ".join(f"{status}: {count:,}" for status, count in tally["told"].items())
    return (
        f"{tally['inputs']:>7,} inputs, slowest {tally['slowest_s'] * 1000:.0f} ms, "
        f"memory +{tally['grown_bytes'] >> 20} MiB, {told}"
    )
