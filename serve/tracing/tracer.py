"""Which requests are traced: decided when they begin, for a share of them, and when they have ended, for the rest.

Until then a request carries only times (`serve/request_record.py`), which metrics read too. Spans are made of what is
kept, elsewhere (`exporting.py`, `spans.py`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from random import random

import msgspec

from model_store.errors import ERROR_KINDS, InternalError
from serve.asking import Asked
from serve.errors import status_of
from serve.request_record import ANSWERED, CANCELLED, RequestRecord
from serve.tracing.context import begun, received

MAX_KEPT = 2048
"""Requests that wait for the exporter; with more, new ones are dropped and counted."""

FAILURES_PER_S = 100
CLIENTS_FAULTS_PER_S = 10
"""Requests that are kept only because they failed, by our fault and by the client's: when all fail, some will do."""

SLOWEST_EVERY_S = 10.0
"""How often the slowest request of each model is kept."""

STATUS = "status "
"""How the outcome of an answer begins that is an error of HTTP."""

FAULT_FROM_STATUS = 500
"""Of HTTP, from which on an error is ours."""

SAMPLED, FAILED, SLOW = "sampled", "failed", "slow"
"""Why a request was kept."""


class Kept(msgspec.Struct):
    """A request to make spans of, and why."""

    record: RequestRecord
    why: str


class Allowance:
    """At most `per_s` in each second. `clock` counts seconds."""

    def __init__(self, per_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock = clock
        self._second = -1
        self._left = 0

    def take(self) -> bool:
        """Whether there may be one more now."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._left = second, self._per_s
        self._left -= 1
        return self._left >= 0


class Tracer:
    """One gateway's. Its methods are called on the event loop, but for `take`, which is the exporter's."""

    def __init__(
        self,
        sample: float,
        slow_ms: float | None = None,
        *,
        draw: Callable[[], float] = random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sample = sample
        self._slow_ns = None if slow_ms is None else int(slow_ms * 1e6)
        self._draw = draw
        self._clock = clock
        self._failures = Allowance(FAILURES_PER_S, clock)
        self._faults = Allowance(CLIENTS_FAULTS_PER_S, clock)
        self._kept: deque[Kept] = deque()
        self._slowest: dict[str, RequestRecord] = {}
        self._slowest_since = clock()
        self.dropped = 0
        """Requests that were to be kept when too many waited already."""

    def begin(self, asked: Asked) -> None:
        """Sets the request's trace: its caller's, or a new one if it is drawn. Most have none yet."""
        header = asked.header
        assert header is not None
        asked.traced = True
        asked.trace = received(header)
        if asked.trace is None and self._draw() < self._sample:
            asked.trace = begun(header, sampled=True)

    def note(self, record: RequestRecord) -> None:
        """A request has ended."""
        asked, outcome = record.asked, record.outcome
        if asked.trace is not None and asked.trace.sampled:
            self._keep(record, SAMPLED)
        elif outcome not in (ANSWERED, CANCELLED):
            if (self._faults if _is_clients_fault(outcome) else self._failures).take():
                self._keep(record, FAILED)
        elif outcome == ANSWERED:
            self._look_at_time(record)

    def _look_at_time(self, record: RequestRecord) -> None:
        took_ns = record.encoded_ns - record.received_ns
        if self._slow_ns is not None:
            if took_ns >= self._slow_ns:
                self._keep(record, SLOW)
        elif record.statistics is not None:
            model = record.statistics.model
            slowest = self._slowest.get(model)
            if slowest is None or took_ns > slowest.encoded_ns - slowest.received_ns:
                self._slowest[model] = record

    def _keep(self, record: RequestRecord, why: str) -> None:
        if len(self._kept) < MAX_KEPT:
            self._kept.append(Kept(record, why))
        else:
            self.dropped += 1

    def take(self, most: int, *, last: bool = False) -> list[Kept]:
        """What was kept and not taken yet, up to `most`; with it, or at the `last` time, the slowest since they were
        taken before, when it is time for them."""
        if last or self._clock() - self._slowest_since >= SLOWEST_EVERY_S:
            self._slowest_since = self._clock()
            # The loop writes into the one or into the other.
            slowest, self._slowest = self._slowest, {}
            for record in slowest.values():
                self._keep(record, SLOW)
        kept = self._kept
        return [kept.popleft() for _ in range(min(most, len(kept)))]


def _is_clients_fault(outcome: str) -> bool:
    if outcome.startswith(STATUS):
        return int(outcome.removeprefix(STATUS)) < FAULT_FROM_STATUS
    return status_of(ERROR_KINDS.get(outcome, InternalError)("")).http < FAULT_FROM_STATUS
