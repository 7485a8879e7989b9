"""Whether a batch whose server was lost is tried again: not for ever, and not when all are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from model_store.errors import InternalError, ModelNotReady
from serve.batches import BatchLost
from serve.executors.budget import Budget
from serve.routing import VersionKey

LOST_TOGETHER = 2
"""So many servers may be lost with a batch before its requests are run apart."""

LOST_AT_MOST = LOST_TOGETHER + 1

RETRIED_SHARE = 0.1
"""At most this share of the batches is sent again, beside what is saved up."""

LEAST_SAVED_UP = 10.0
RETRIES_PER_S = 1.0
"""Retries that come with time, so that a version with few calls has some again after a bad minute."""

RETRY_AFTER_S = 1.0


class Retries:
    """Of one version in one gateway. `servers` is what messages call its servers, as 'replicas'."""

    def __init__(self, key: VersionKey, servers: str, clock: Callable[[], float]) -> None:
        model, version = key
        self._version = f"{model!r} version {version}"
        self._servers = servers
        self.budget = Budget(RETRIED_SHARE, LEAST_SAVED_UP, begin=float("inf"), per_s=RETRIES_PER_S, clock=clock)

    def note_slots(self, slots: int) -> None:
        """So many batches are on the servers at most: all may be lost at once, twice, and be tried again."""
        # Servers that left just now are those whose batches come again.
        self.budget.most = max(self.budget.most, 2.0 * slots)

    def require_another(self, lost: Sequence[str], *, apart: bool) -> None:
        """Returns where the batch that the servers `lost` were lost with may be tried once more.

        Raises `BatchLost` when its requests are to be run apart, `InternalError` for one that was, and `ModelNotReady`
        when there is no budget.
        """
        if apart:
            raise InternalError(
                f"{LOST_AT_MOST} {self._servers} were lost while they ran this request for {self._version}; it is not "
                "tried again",
                lost=LOST_AT_MOST,
            )
        if len(lost) >= LOST_TOGETHER:
            raise BatchLost(f"{len(lost)} {self._servers} of {self._version} were lost with the batch")
        if not self.budget.take():
            raise ModelNotReady(
                f"{self._servers} of {self._version} are lost faster than batches can be tried again; try again later",
                retry_after_s=RETRY_AFTER_S,
            )
