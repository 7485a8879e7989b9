"""Counts the requests of a gateway when they end, from their records."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable

from serve.metrics.buckets import DURATION_BOUNDS_NS
from serve.metrics.counts import Refusals, RequestCounts
from serve.request_record import ANSWERED, CANCELLED, RequestRecord


class RequestCounter:
    """The recorder of a gateway's front doors.

    What clients send creates no name: models and versions are those of the routing table, kinds of error and dialects
    those of the code.
    """

    def __init__(self) -> None:
        self.refusals: Refusals = {}
        self.on_end: Callable[[RequestRecord], None] | None = None
        """Is given each record behind the counting, where it is set."""

    def end(self, record: RequestRecord, outcome: str = ANSWERED) -> None:
        """The request has ended now."""
        record.encoded_ns = now_ns = time.perf_counter_ns()
        statistics = record.statistics
        if statistics is None:
            self._count_refused(record, outcome)
        else:
            statistics.changed = True
            counts = statistics.requests.get(record.dialect)
            if counts is None:
                counts = statistics.requests[record.dialect] = RequestCounts()
            ns = now_ns - record.received_ns
            if outcome == CANCELLED:
                counts.cancelled += 1
                statistics.cancelled.add(ns)
            else:
                # As `Durations.add`: the call would take as long as what it does.
                took = counts.took
                took.counts[bisect_left(DURATION_BOUNDS_NS, ns)] += 1
                took.ns += ns
                if outcome:
                    counts.errors[outcome] = counts.errors.get(outcome, 0) + 1
                    counts.failed_ns += ns
        if outcome:
            record.outcome = outcome
        if self.on_end is not None:
            self.on_end(record)

    def _count_refused(self, record: RequestRecord, outcome: str) -> None:
        if outcome != CANCELLED:
            refused = (record.model, record.dialect, outcome)
            self.refusals[refused] = self.refusals.get(refused, 0) + 1
