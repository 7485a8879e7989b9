"""Has rollouts judged once a second, and takes desired state back after a version that did worse.

The fleet has gone back by then (`leading.py`); this makes desired state say the same, so that history tells why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from model_store import served
from model_store.served import Served
from serve.caller import CALLER
from serve.control.desired_state import DesiredState
from serve.errors import presentable
from serve.operations import ModelList, Operation, RollBack
from serve.rollouts.observations import Observations
from serve.rollouts.under_way import UnderWay

log = logging.getLogger("onegate")

LOOK_S = 1.0
RETRY_S = 10.0
"""After taking back failed: each try writes generations."""

GUARD = "guard"
"""As whose change a generation names what was taken back."""


class Guarding:
    """`answer` is asked to take desired state back, `seen` for what all gateways have seen."""

    def __init__(
        self,
        desired: DesiredState,
        answer: Callable[[Operation], Awaitable[ModelList]],
        seen: Callable[[], Observations],
        retry_s: float = RETRY_S,
    ) -> None:
        self._desired = desired
        self._answer = answer
        self._seen = seen
        self._retry_s = retry_s
        self._back: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Looks every `LOOK_S`; costs nothing while no rollout is under way."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Judges, and takes back what is to be taken back."""
        rollouts, gathered = self._desired.rollouts, self._desired.gathered
        if not rollouts.under_way:
            return
        await rollouts.judge(self._seen())
        for model, under_way in list(rollouts.under_way.items()):
            # One that is being prepared is another by now: it begins from what answers.
            is_free = model not in gathered.progress and (model not in self._back or self._back[model].done())
            if under_way.state == "going back" and is_free:
                self._back[model] = asyncio.get_running_loop().create_task(self._take_back(under_way))

    async def _take_back(self, under_way: UnderWay) -> None:
        model, stable = under_way.rollout.model, under_way.rollout.stable
        CALLER.set(GUARD)
        try:
            record = await asyncio.to_thread(self._record_of, model, stable)
            number = None if record is None else record.number
            await self._answer(RollBack(model=model, to=number, why=under_way.reason))
        except Exception as error:
            log.warning(
                "desired state of %s can't be taken back to version %s, which answers; trying again: %s",
                *(model, stable, presentable(error).message),
            )
            await asyncio.sleep(self._retry_s)

    def _record_of(self, model: str, version: int) -> Served | None:
        """The newest record in which the version has all traffic."""
        records = served.newest_first(self._desired.store, model)
        return next((each for each in records if _all_traffic(each) == [version]), None)


def _all_traffic(record: Served) -> list[int]:
    return [version["version"] for version in record.document["versions"] if version.get("traffic")]
