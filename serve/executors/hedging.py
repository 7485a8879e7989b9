"""A second try beside the first, for batches that one replica keeps too long: the first answer wins.

Bounded, because extra work is the last thing that replicas need which are slow for want of time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serve.executors.budget import Budget
from serve.inference import Tensors

HEDGED_SHARE = 0.05
"""At most this share of the batches goes to two replicas."""

SAVED_UP = 10.0
"""Second tries that may be saved up, so that a quiet day does not pay for a storm."""

Attempt = asyncio.Task[Tensors | None]
"""One replica's outputs, or None when it is gone."""


def hedge_budget() -> Budget:
    """How many second tries are left, of one version in one gateway."""
    return Budget(HEDGED_SHARE, SAVED_UP)


async def first_outcome(first: Attempt, second: Callable[[], Attempt | None], hedge_s: float) -> Tensors | None:
    """What the first attempt gives; after `hedge_s` without an answer, what the first of two gives.

    `second` starts the other attempt, or says None when there is to be none. An attempt whose replica is gone leaves it
    to the other. The one that is not needed is cancelled. Raises what the first to end raises; None when all are gone.
    """
    tasks, other = [first], None
    done: set[Attempt] = set()
    pending = {first}
    try:
        done, pending = await asyncio.wait(tasks, timeout=hedge_s)
        if not done and (other := second()) is not None:
            tasks.append(other)
            pending = set(tasks)
        while True:
            for task in done:
                if (outputs := task.result()) is not None:
                    return outputs
            if not pending:
                return None
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        # Awaited, so that shared memory is given back and no error is left unread.
        await asyncio.gather(*tasks, return_exceptions=True)
        # An attempt that failed holds its error, and the error this frame: the tensors would stay until the collector
        # comes.
        del first, other, task, tasks, done, pending
