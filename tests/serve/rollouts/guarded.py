"""A guard over a real store, fleet and gateway; what gateways count, and the clock, are the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_store import served
from serve.config import Config
from serve.rollouts import records as rollout_records
from serve.rollouts.guarding import Guarding
from serve.rollouts.leading import Rollouts
from serve.rollouts.observations import Observations, VersionCounters
from tests.serve.administered import Administered, administered
from tests.serve.waiting import PATIENCE_S, eventually

ROLLOUT: dict[str, Any] = {"steps": [10, 50, 100], "step_s": 60, "min_requests": 100}


def model(source: str, **keys: Any) -> dict[str, Any]:
    return {"name": "m", "source": source, "rollout": ROLLOUT} | keys


@dataclass
class Guarded:
    """`it` with a guard whose look is the test's to call."""

    it: Administered
    now_s: float = 1_000_000.0
    seen: Observations = field(default_factory=Observations)

    def __post_init__(self) -> None:
        self.it.desired.rollouts = Rollouts(self.it.store, self.it.fleet, lambda: self.now_s)
        self.guarding = Guarding(
            self.it.desired, self.it.administration.answer, lambda: deepcopy(self.seen), retry_s=0.01
        )

    def count(self, version: int, calls: int, failed: int = 0, ms: float = 5.0, refused: int = 0) -> None:
        """So many more calls of a version, and such as it refuses."""
        counters = self.seen.counters.setdefault(("m", version), VersionCounters())
        counters.refused += refused
        for _ in range(failed):
            counters.count_fault("InternalError")
        counters.requests += calls - failed
        counters.latency.add(int(ms * 1e6), calls - failed)

    async def apply(self, *models: dict[str, Any]) -> None:
        config = self.it.desired.config.document() | {"models": list(models)}
        await self.it.desired.apply(Config.model_validate(config))

    async def at(self, *split: tuple[int, int]) -> None:
        """Returns when the route leads so, and the guard has seen it."""

        def stands() -> bool:
            route = self.it.fleet.table.routes.get("m")
            settled = "m" not in self.it.desired.gathered.progress and self.it.fleet.is_served("m")
            return route is not None and sorted(route.split) == sorted(split) and settled

        await eventually(stands)
        number = self.it.fleet.table.number
        await eventually(lambda: self.it.fleet.heard.is_followed(number))

    async def begun(self, source: str, stable: int = 1, canary: int = 2, **keys: Any) -> None:
        """Returns when the version of the source is at its first step."""
        await self.apply(model(source, **keys))
        await self.at((stable, 90), (canary, 10))
        await self.guarding.look()

    async def pass_step(self, canary: int = 2, failed: int = 0, calls: int = 2000, ms: float = 5.0) -> None:
        """A minute in which both versions get calls, and the guard's look at it."""
        self.now_s += 61
        self.count(1, calls)
        self.count(canary, calls, failed, ms)
        await self.guarding.look()

    async def sent_back(self, source: str) -> None:
        """Returns when version 2, of the source, has gone back to version 1 for its errors."""
        await self.at((1, 100))
        await eventually(lambda: self.served() == [[1]])
        await self.begun(source)
        await self.pass_step(failed=100)
        await eventually(lambda: self.it.desired.rollouts.under_way == {})
        await self.at((1, 100))
        # Till then the guard's own call is under way, and another one would overtake it.
        await eventually(lambda: all(call.done() for call in self.guarding._back.values()))

    async def looked_until_over(self) -> None:
        """Returns when looks of the guard have brought all rollouts to an end."""
        async with asyncio.timeout(PATIENCE_S):
            while self.it.desired.rollouts.under_way:
                await self.guarding.look()
                await self.it.desired.step()

    def reasons(self) -> list[str]:
        """Why each record is so, oldest first."""
        return [record.reason for record in rollout_records.newest_first(self.it.store, "m")][::-1]

    def states(self) -> list[tuple[str, int]]:
        """State and percent of the records, oldest first."""
        found = list(rollout_records.newest_first(self.it.store, "m"))
        return [(record.state, record.rollout.percent) for record in reversed(found)]

    def served(self) -> list[list[int]]:
        found = reversed(list(served.newest_first(self.it.store, "m")))
        return [[v["version"] for v in record.document["versions"] if v.get("traffic")] for record in found]


@asynccontextmanager
async def guarded(folder: Path, *models: dict[str, Any]) -> AsyncIterator[Guarded]:
    async with administered(folder, *models) as it:
        yield Guarded(it)
