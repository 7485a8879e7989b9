"""When a call is tried again, and the steps in which it runs, which are the same with an event loop and without.

Tried again is what can't do harm: inference changes nothing, so a call whose connection failed or was cut may be sent
once more, as may one that was refused as too early or too many. All else is the caller's matter, at once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from model_store.errors import ConfigError, DeadlineExceeded, ModelNotReady, OnegateError, Overloaded, RateLimited
from serve.errors import RETRY_AFTER
from serve.executors.budget import Budget

T = TypeVar("T")

_SHARE = 0.1
_SAVED_UP = 100.0
_PER_S = 1.0

AGAIN = "again"
"""In the details of a `ModelNotReady` that nobody answered: whether another try may do better."""

REACHED = "reached"
"""There too: whether a server had the call."""


class Retries(msgspec.Struct, frozen=True):
    """How often a call is tried, `tries` in all, and how long it waits in between: `first_s` seconds, then twice as
    long each time up to `most_s`, half of it by chance; where the server says when to come again, as long as that.

    Whatever `tries` says, of calls that reached the server a client sends at most a tenth once more, beside 100 that it
    begins with and one each second: a server in trouble is not asked a multiple of what it can't do.
    """

    tries: int = 8
    first_s: float = 0.1
    most_s: float = 2.0

    def __post_init__(self) -> None:
        if self.tries < 1 or not 0 <= self.first_s <= self.most_s:
            raise ConfigError(f"expected tries of 1 or more and 0 <= first_s <= most_s, got {self}")


ONE_TRY = Retries(tries=1)


class Send(NamedTuple):
    """A step: the message is to be sent, and its answer given back, or the error thrown."""

    message: Any
    timeout_s: float


class Pause(NamedTuple):
    """A step: so many seconds are to pass."""

    seconds: float


Steps: TypeAlias = Generator[Send | Pause, Any, T]
"""A call that waits for each of its steps to be done."""


class Exchange(NamedTuple, Generic[T]):
    """A message, made for the seconds that are left, and what its answer says, or raises."""

    ask: Callable[[float], Any]
    read: Callable[[Any], T]


def new_budget() -> Budget:
    """Of one client."""
    return Budget(_SHARE, _SAVED_UP, begin=_SAVED_UP, per_s=_PER_S, clock=time.monotonic)


def attempts(exchange: Exchange[T], deadline: float, retries: Retries, budget: Budget) -> Steps[T]:
    """Asks until there is an answer, or an error that is the caller's, or neither time (`deadline`, of
    `time.monotonic`) nor tries are left."""
    budget.note_batch()
    tries = 0
    failed: OnegateError | None = None
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            # After a pause that took longer than it should have, what was told before says more.
            raise failed or DeadlineExceeded("the deadline passed before the call could be sent")
        try:
            return exchange.read((yield Send(exchange.ask(left_s), left_s)))
        except (ModelNotReady, Overloaded, RateLimited) as error:
            tries += 1
            failed = error
            pause_s = _pause_s(error, tries, retries)
            late = pause_s is None or time.monotonic() + pause_s >= deadline
            if late or tries >= retries.tries:
                raise
            if error.details.get(REACHED, True) and not budget.take():
                raise
        assert pause_s is not None
        yield Pause(pause_s)


def _pause_s(error: OnegateError, tries: int, retries: Retries) -> float | None:
    """How long to wait after so many tries; None where trying again is of no use."""
    backoff_s = min(retries.most_s, retries.first_s * 2.0 ** (tries - 1))
    told_s = error.details.get(RETRY_AFTER)
    if told_s is not None:
        # Not all at the same moment, nor any before it.
        return float(told_s) + random.uniform(0, backoff_s)
    if isinstance(error, RateLimited) or not error.details.get(AGAIN, True):
        return None
    return backoff_s * random.uniform(0.5, 1)
