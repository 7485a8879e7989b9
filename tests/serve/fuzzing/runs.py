"""Runs of one dialect: inputs sent one by one, and a tally of what came back."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from tests.serve.fuzzing.dialects import Dialect
from tests.serve.fuzzing.endpoint import Endpoint
from tests.serve.fuzzing.inputs import Input
from tests.serve.fuzzing.mutation import mutated
from tests.serve.fuzzing.tallies import Tally
from tests.serve.fuzzing.verdict import DefectLog, TooLong, Wrong, alarms, judge, peak_bytes, reset_peak, watched

CHUNK = 500
"""Inputs of one run of hypothesis, which remembers all of a run."""
MOST_FAILURES = 20
"""Different ones; a run with more ends."""
WARM_UP = 300
"""Inputs after which memory is looked at for the first time: caches and imports are in it then."""


class Run:
    """Sends inputs of a dialect to an endpoint of its own."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.tally = Tally(limit_bytes=dialect.limit_bytes)
        self._base_bytes: int | None = None
        self._loop = asyncio.new_event_loop()
        self._endpoint = self._loop.run_until_complete(self._open())
        self._defects = DefectLog()
        self._loop.set_exception_handler(
            lambda loop, context: self._defects.note(context.get("exception"), str(context["message"]))
        )

    async def _open(self) -> Endpoint:
        return Endpoint()

    def close(self) -> None:
        self._loop.run_until_complete(self._endpoint.close())
        self._loop.close()

    @contextmanager
    def attentive(self) -> Iterator[None]:
        """Within it, defects are heard of, and warnings are defects."""
        log = logging.getLogger("onegate")
        log.addHandler(self._defects)
        log.propagate = False
        try:
            with alarms(), warnings.catch_warnings():
                warnings.simplefilter("error")
                yield
        finally:
            log.removeHandler(self._defects)
            log.propagate = True

    def send(self, request: Input) -> None:
        """Raises `Wrong` for an answer that must not be, and `TooLong`."""
        tally = self.tally
        tally.inputs += 1
        begin = time.process_time()
        with watched():
            sent = self._loop.run_until_complete(self.dialect.send(self._endpoint, request))
        taken = time.process_time() - begin
        if taken > tally.slowest_s:
            tally.slowest_s, tally.slowest = taken, repr(request)
        self._defects.heard()
        told = judge(request, sent)
        tally.told[told] += 1
        if tally.inputs >= WARM_UP and self._base_bytes is None:
            reset_peak()
            self._base_bytes = peak_bytes()

    def try_one(self, request: Input) -> None:
        """Sends it, and notes a failure."""
        try:
            self.send(request)
        except (Exception, TooLong) as error:
            self.note(error, request)

    def note(self, error: BaseException, request: Input) -> None:
        """A failure of `request`. What hung may still be under way, so that a run ends with it."""
        self._defects.forget()
        reason = str(error) if isinstance(error, Wrong | TooLong) else f"{type(error).__name__}: {error}"
        self.tally.fail(reason, request)

    @property
    def ended(self) -> bool:
        """Whether enough is wrong."""
        failures = self.tally.failures
        return len(failures) >= MOST_FAILURES or any(reason.startswith("not answered") for reason in failures)

    def finish(self) -> Tally:
        """The tally, memory included."""
        peak = peak_bytes()
        self.tally.grown_bytes = max(0, peak - (self._base_bytes or peak))
        return self.tally


def run_seeds(run: Run) -> None:
    """Right inputs, so that what is counted later starts from code that has run before."""
    for request in run.dialect.seeds:
        run.try_one(request)


def run_structured(run: Run, count: int, start: int) -> None:
    """`count` inputs of hypothesis, the same ones for the same `start`."""
    goal = run.tally.inputs + count
    number = start
    while run.tally.inputs < goal and not run.ended:
        _chunk(run, min(CHUNK, goal - run.tally.inputs), number)
        number += 1


def _chunk(run: Run, count: int, number: int) -> None:
    last: list[Input] = []

    def send(request: Input) -> None:
        last[:] = [request]
        run.send(request)

    try:
        _given(run.dialect, send, count, number)()
    except (Exception, TooLong) as error:
        if not last:
            raise
        # Hypothesis has made the input of an error as small as it can.
        run.note(error, last[0])


def _given(dialect: Dialect, send: Callable[[Input], None], count: int, number: int) -> Callable[[], None]:
    @seed(number)
    @settings(
        max_examples=count, database=None, deadline=None, phases=(Phase.generate, Phase.shrink), print_blob=False,
        suppress_health_check=list(HealthCheck), verbosity=Verbosity.quiet, report_multiple_bugs=False,
    )  # fmt: skip
    @given(request=dialect.inputs)
    def each(request: Input) -> None:
        send(request)

    return each


def run_mutated(run: Run, count: int, start: int) -> None:
    """`count` inputs of which bytes are changed at random, the same ones for the same `start`."""
    dialect = run.dialect
    for number in range(start, start + count):
        if run.ended:
            return
        run.try_one(dialect.read(mutated(dialect.corpus, random.Random(number))))
