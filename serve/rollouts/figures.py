"""What a stable version and its canary did in the same time, taken from what gateways have seen (`observations.py`)."""

from __future__ import annotations

import msgspec

from serve.rollouts.histogram import Histogram
from serve.rollouts.observations import Observations, VersionCounters


class Sample(msgspec.Struct, frozen=True):
    """What a version did in some time. `copies` are calls that it only got copies of, `failed_copies` those of them
    that it failed, `disagreeing` those that it answered otherwise. `refused` are calls beside `requests`, for their
    caller's fault."""

    requests: int = 0
    failed: int = 0
    latency: Histogram = msgspec.field(default_factory=Histogram)
    copies: int = 0
    failed_copies: int = 0
    disagreeing: int = 0
    refused: int = 0

    def since(self, earlier: Sample) -> Sample:
        """What came after `earlier`, an older state of this one."""
        return Sample(
            self.requests - earlier.requests,
            self.failed - earlier.failed,
            self.latency.since(earlier.latency),
            self.copies - earlier.copies,
            self.failed_copies - earlier.failed_copies,
            self.disagreeing - earlier.disagreeing,
            self.refused - earlier.refused,
        )

    def covers(self, earlier: Sample) -> bool:
        """Whether this can be a later state of `earlier`: not, where a controller forgot gateways that have gone."""
        return self.requests >= earlier.requests and self.copies >= earlier.copies and self.refused >= earlier.refused


class Figures(msgspec.Struct, frozen=True):
    """A stable version and its canary, over the same time."""

    stable: Sample = msgspec.field(default_factory=Sample)
    canary: Sample = msgspec.field(default_factory=Sample)

    def since(self, earlier: Figures) -> Figures:
        """What came after `earlier`, an older state of this one."""
        return Figures(self.stable.since(earlier.stable), self.canary.since(earlier.canary))

    def covers(self, earlier: Figures) -> bool:
        """Whether this can be a later state of `earlier`."""
        return self.stable.covers(earlier.stable) and self.canary.covers(earlier.canary)


def figures_of(seen: Observations, model: str, stable: int, canary: int) -> Figures:
    """The figures of two versions of a model in what all gateways have seen."""
    old = seen.counters.get((model, stable), VersionCounters())
    new = seen.counters.get((model, canary), VersionCounters())
    sample = Sample(new.requests, new.failed, new.latency, refused=new.refused)
    if told := seen.comparisons.get((model, stable, canary)):
        failed = sum(told.failures.values())
        sample = msgspec.structs.replace(
            sample, copies=told.compared + failed, failed_copies=failed, disagreeing=told.compared - told.agreeing
        )
    return Figures(Sample(old.requests, old.failed, old.latency, refused=old.refused), sample)
