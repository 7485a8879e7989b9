"""The way of a new version to all calls, for models with `rollout`: what the fleet wants meanwhile, step after step.

Not desired state, but the way to it: no generation a step. Every step is written down before it is taken
(`records.py`), so that a new controller goes on where the last one was. What a step is judged by is
`guard.py`'s; who takes desired state back after a version that did worse is `guarding.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from model_store.generations import Generation
from model_store.store import Store
from serve.config_sections.model import ModelConfig
from serve.control.fleet import Fleet
from serve.control.serve_options import serve_options
from serve.control.wanted import Wanted
from serve.errors import presentable
from serve.rollouts import guard
from serve.rollouts import records as rollout_records
from serve.rollouts.ended import EndedRollouts
from serve.rollouts.figures import Figures, figures_of
from serve.rollouts.guard import bounds_of
from serve.rollouts.observations import Observations
from serve.rollouts.records import RolloutRecord, State
from serve.rollouts.shares import as_routed, routed_beside, sole_version
from serve.rollouts.under_way import UnderWay
from serve.routing import Made, VersionEntry

log = logging.getLogger("onegate")

RETIRED = "the model was retired"


class Rollouts:
    """Those under way, by model. `clock` gives seconds since 1970."""

    def __init__(self, store: Store, fleet: Fleet, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._fleet = fleet
        self._clock = clock
        self._turn = asyncio.Lock()
        self._known: set[str] = set()
        """Models of which it was looked whether an earlier controller left a rollout."""
        self._retirements: Counter[str] = Counter()
        self._ending: set[asyncio.Task[None]] = set()
        self.under_way: dict[str, UnderWay] = {}
        self.ended = EndedRollouts()

    async def lead(
        self,
        model: ModelConfig,
        target: tuple[Wanted, ...],
        generation: Generation,
        then: Callable[[], Made],
        *,
        at_once: bool = False,
    ) -> None:
        """Has the fleet want `target`, or what leads there by steps; `then` is called in the same moment, and says
        what was made of sources. `at_once` is for what somebody says of versions and traffic himself. Raises
        `StoreError` where it can't be written down."""
        name, retirements = model.name, self._retirements[model.name]

        async def take() -> None:
            async with self._turn:
                wanted = await self._first(model, target, generation, at_once)
                if self._retirements[name] == retirements:
                    self._fleet.want(name, wanted, model.keep_previous_s, then())
                    return
                self._known.discard(name)
                if begun := self.under_way.pop(name, None):
                    await self._end(begun, "stopped", RETIRED)
                self.ended.forget(name)

        # What is written down, known here and wanted of the fleet must not part.
        await asyncio.shield(asyncio.get_running_loop().create_task(take()))

    def retire(self, model: str) -> None:
        """Nobody desires the model any more, whatever `lead` is still looking up of it."""
        self._retirements[model] += 1
        self._known.discard(model)
        self.ended.forget(model)
        if under_way := self.under_way.pop(model, None):
            task = asyncio.get_running_loop().create_task(self._stop(under_way))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def told(self) -> list[dict[str, Any]]:
        """All under way, as `UnderWay.told`."""
        return [self.under_way[model].told() for model in sorted(self.under_way)]

    def last_told(self, model: str) -> dict[str, Any] | None:
        """The last rollout of a model that has ended, as `EndedRollouts.of`; None while another is under way."""
        return None if model in self.under_way else self.ended.of(model, sole_version(self._fleet.wanted(model)))

    def all_last_told(self) -> list[dict[str, Any]]:
        """Of all models, as `last_told`."""
        return [told for model in self.ended.models() if (told := self.last_told(model))]

    async def judge(self, seen: Observations) -> None:
        """Takes the next step where it is time for it, by what all gateways have seen. What can't be written down is
        told and tried again with the next call."""
        for model in list(self.under_way):
            try:
                async with self._turn:
                    await self._judge(model, seen)
            except Exception as error:
                log.warning("the rollout of %s waits: %s", model, presentable(error).message)

    async def _first(
        self, model: ModelConfig, target: tuple[Wanted, ...], generation: Generation, at_once: bool
    ) -> Sequence[Wanted]:
        name, sole = model.name, sole_version(target)
        bounds = None if model.rollout is None or at_once or sole is None else bounds_of(model.rollout)
        current = await self._current(model, target, generation)
        if current is None:
            stable = self._present(name, sole) if bounds and sole else None
        else:
            is_same = bounds is not None and sole == current.rollout.canary
            if is_same and (current.state == "going back" or bounds == current.rollout.bounds):
                current = self.under_way[name] = replace(current, target=target)
                return self._way_back(current) if current.state == "going back" else current.wanted
            await self._end_for(current, sole, generation if at_once else None, by_steps=bounds is not None)
            stable = current.stable
        if bounds is None or sole is None or stable is None or model.rollout is None or stable.entry.key[1] == sole:
            # Not before: until the fleet wants it, what is under way is not what is served in the end.
            self.under_way.pop(name, None)
            return target
        now_s = self._clock()
        rollout = guard.begin(name, stable.entry.key[1], sole, bounds, Figures(), now_s)
        copied, keep_s = model.rollout.copied_percent, model.keep_previous_s
        begun = UnderWay(rollout, stable, target, copied, keep_s, generation.number, generation.by)
        await self._write(begun.record("on", "begun", now_s))
        self.under_way[name] = begun
        return begun.wanted

    async def _end_for(self, current: UnderWay, sole: int | None, said: Generation | None, *, by_steps: bool) -> None:
        """Ends a rollout because something else is wanted by now. `said` is the generation that says so, where somebody
        changed what answers at once."""
        state: State = "replaced" if by_steps and sole != current.rollout.stable else "stopped"
        reason = "several versions share the traffic" if sole is None else f"version {sole} is wanted by now"
        if current.state == "going back" and sole == current.rollout.stable:
            state, reason = "went back", current.reason
        elif sole == current.rollout.canary:
            reason = "its bounds have changed" if by_steps else f"version {sole} is to have all traffic at once"
        by = None if state == "went back" else said
        await self._end(current, state, reason, by)

    async def _current(self, model: ModelConfig, target: tuple[Wanted, ...], generation: Generation) -> UnderWay | None:
        """The model's rollout, one of an earlier controller too."""
        if model.name not in self._known:
            record = await asyncio.to_thread(self._newest, model.name)
            if record is not None and record.generation < generation.added.get(model.name, 0):
                # The model was retired since, and what was of it then is over.
                record = None
            if record is not None and not record.has_ended:
                self.under_way[model.name] = await self._taken_up(record, model, target)
            elif record is not None:
                self.ended.take_up(record)
            self._known.add(model.name)
        return self.under_way.get(model.name)

    def _newest(self, model: str) -> RolloutRecord | None:
        return next(rollout_records.newest_first(self._store, model), None)

    async def _taken_up(self, record: RolloutRecord, model: ModelConfig, target: tuple[Wanted, ...]) -> UnderWay:
        key = (model.name, record.rollout.stable)
        if (state := self._fleet.versions.get(key)) is not None:
            entry = state.entry
        else:
            manifest = await asyncio.to_thread(self._store.manifest, *key)
            entry = VersionEntry(manifest, serve_options(model.serve, manifest))
        return UnderWay(
            *(record.rollout, Wanted(entry, 0, record.labels, record.alias), target),
            copied_percent=model.rollout.copied_percent if model.rollout else 0.0,
            keep_previous_s=model.keep_previous_s,
            generation=record.generation,
            by=record.by,
            state=record.state,
            reason=record.reason,
            evidence=record.evidence,
            stands=True,
        )

    def _present(self, model: str, canary: int) -> Wanted | None:
        """The version that answers now, where the canary is not alone."""
        route = self._fleet.table.routes.get(model)
        number = routed_beside(route.split if route else (), canary)
        state = None if number is None else self._fleet.versions.get((model, number))
        return None if state is None else as_routed(state.fallback or state.entry, route)

    async def _judge(self, model: str, seen: Observations) -> None:
        current = self.under_way.get(model)
        fleet, now_s = self._fleet, self._clock()
        if current is None or current.state != "on" or not fleet.heard.is_followed(fleet.table.number):
            return
        route = fleet.table.routes.get(model)
        split = dict(route.split) if route else {}
        in_force = split == {each.entry.key[1]: each.traffic for each in current.wanted if each.counted}
        if not in_force and not split.get(current.rollout.canary):
            return
        figures = figures_of(seen, model, current.rollout.stable, current.rollout.canary)
        if in_force and not current.stands:
            # Loading may have taken long, and counts for no step.
            begun = msgspec.structs.replace(current.rollout, since_s=now_s, before=figures, at_step=figures)
            self.under_way[model] = replace(current, rollout=begun, stands=True)
            return
        decision, rollout = guard.judge(current.rollout, figures, now_s)
        if decision.action == "advance" and not in_force:
            rollout = current.rollout
        current = replace(current, rollout=rollout, reason=decision.reason, evidence=decision.evidence)
        self.under_way[model] = current
        # Where a version that is wanted beside keeps new shares from coming into force, the way back is open still.
        if decision.action == "roll back" or (in_force and decision.action != "hold"):
            await self._go(current, decision, now_s)

    async def _go(self, current: UnderWay, decision: guard.Decision, now_s: float) -> None:
        rollout, model = current.rollout, current.rollout.model
        if decision.action == "roll back":
            log.warning(
                "the guard sends version %s of %s back to version %s: %s",
                *(rollout.canary, model, rollout.stable, decision.reason),
            )
            self.ended.note_sent_back(model)
            # First of all: a store that can't be written to is no reason to go on with a bad version.
            current = self.under_way[model] = replace(current, state="going back")
            self._fleet.want(model, self._way_back(current), current.keep_previous_s)
            await self._write(current.record("going back", decision.reason, now_s))
            return
        log.info("rollout of %s version %s: %s: %s", model, rollout.canary, decision.action, decision.reason)
        if decision.action == "finish":
            await self._end(current, "finished", decision.reason)
            del self.under_way[model]
            self._fleet.want(model, current.target, current.keep_previous_s)
            return
        await self._write(current.record("on", decision.reason, now_s))
        self._fleet.want(model, current.wanted, current.keep_previous_s)

    def _way_back(self, current: UnderWay) -> list[Wanted]:
        """The old version, with what stands ready beside it: nothing is to be waited for."""
        ready = {key for key, state in self._fleet.versions.items() if state.phase == "READY"}
        return [each for each in current.wanted if each.traffic or each.entry.key in ready]

    async def _stop(self, under_way: UnderWay) -> None:
        try:
            async with self._turn:
                await self._end(under_way, "stopped", RETIRED)
                self.ended.forget(under_way.rollout.model)
        except Exception as error:
            log.warning("the end of a rollout can't be written down: %s", presentable(error).message)

    async def _end(self, current: UnderWay, state: State, reason: str, by: Generation | None = None) -> None:
        """`by` is the generation that ends it, of somebody who changed what answers."""
        record = current.record(state, reason, self._clock())
        if by is not None:
            told = f"ended by {by.why}: {reason}"
            record = msgspec.structs.replace(record, ended_generation=by.number, ended_by=by.by, reason=told)
        await self._write(record)
        self.ended.note(record, current.state)

    async def _write(self, record: RolloutRecord) -> None:
        await asyncio.to_thread(rollout_records.append, self._store, record)
