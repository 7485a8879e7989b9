"""Desired state in force: the newest generation, the preparation of what it names, and what the fleet is to hold.

Edits take turns, each from what the one before left. What they are is `desired_edits.py`'s and the config's; the
controller feeds the fleet and moves it on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from model_store import generations
from model_store.errors import ConfigError, Conflict
from model_store.generations import Generation
from model_store.manifest import Manifest
from model_store.store import Store
from serve.caller import CALLER
from serve.config import Config
from serve.config_sections.model import ModelConfig, VersionConfig
from serve.control.desired import Change, Lookup, plan
from serve.control.desired_edits import added_models, changed
from serve.control.earlier_models import EarlierModels
from serve.control.failure_log import FailureLog
from serve.control.fleet import Fleet
from serve.control.made_sources import MadeSources, to_be_read
from serve.control.model_documents import Document
from serve.control.pinning import Prepared, pinned
from serve.control.preparation import Preparer
from serve.control.present import present
from serve.control.serving_record import ServingRecord
from serve.control.state import Gathered
from serve.control.version_policies import asked_versions
from serve.differences import differences, told
from serve.errors import presentable
from serve.rollouts.leading import Rollouts
from serve.routing import BEING_PREPARED, Made
from serve.store_policy import NO_POLICY, StorePolicy

CONVERSIONS_AT_ONCE = 2

FIXED = {"store", "store_cache", "signing", "gateway", "access", "tracing", "logging"}
"""Sections of the config that a gateway reads when it starts, and not again."""


@dataclass(frozen=True)
class Edit:
    """One that was made: desired state before and after, and the models that are prepared for it."""

    former: Config
    written: Config
    models: frozenset[str]
    why: str = ""


class DesiredState:
    """The config in force. `on_change` is called when there is something new for the fleet's next step.

    `adopted` is set when the fleet knows what an earlier controller had gateways serve, and nothing is prepared before;
    None stands for a fleet that knows.
    """

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        generation: Generation,
        on_change: Callable[[], None],
        policy: StorePolicy = NO_POLICY,
        adopted: asyncio.Event | None = None,
    ) -> None:
        self.store = store
        self.fleet = fleet
        self.generation = generation
        self.config = Config.model_validate(generation.config)
        self.gathered = Gathered()
        self.prepared: dict[str, Prepared] = {}
        """Models as they were last prepared; what is under way or failed since is in `gathered`."""
        self.rollouts = Rollouts(store, fleet)
        self.record = ServingRecord(store, self.prepared, self.is_served)
        self.preparer = Preparer(store, CONVERSIONS_AT_ONCE, policy)
        self._failure_log = FailureLog(fleet, self.gathered)
        self._earlier = EarlierModels(store, generation)
        self._first = generation.number
        self._on_change = on_change
        self._adopted = adopted
        self._turn = asyncio.Lock()
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._sources = MadeSources(store, fleet)
        self._stepped = asyncio.Event()
        # What was made of a source before stays, until somebody asks for it to be read again.
        self._take_over(self.config, {model.name for model in self.config.models}, ())

    @property
    def number(self) -> int:
        """The number of the generation in force."""
        return self.generation.number

    async def plan(self, config: Config) -> list[Change]:
        """What `apply` of `config` would change; raises `ConfigError` as it would."""
        self._refuse_fixed_changes(config)
        lookup = Lookup(
            lambda model: asked_versions(self.store, model),
            lambda model, version: self.preparer.stored(model, version, config.allowed_sources),
        )
        return await asyncio.to_thread(plan, self.config, config, present(self.fleet, self.rollouts.under_way), lookup)

    async def plan_edit(self, config: Config, model: str, *, at_once: bool) -> list[Change]:
        """What an `edit` that gives `config`, and asks for no source to be read again, would change of the model."""
        former, config = self.config.of_models({model}), config.of_models({model})
        if self._adopted is not None:
            await self._adopted.wait()
        if not changed(former, config):
            return [Change(model, "keep")]
        asked = self._asked(config, to_be_read(former, config, {model}, ())).get(model, 0)
        read = self._not_read_yet(model)

        def look() -> list[Change]:
            made = {each.name: self._sources.made(each, asked, read) for each in config.models}

            def stored(each: ModelConfig, version: VersionConfig) -> Manifest | None:
                manifest = made[each.name].get(version.source or "")
                return manifest or self.preparer.stored(each, version, config.allowed_sources)

            lookup = Lookup(lambda each: asked_versions(self.store, each), stored)
            return plan(former, config, there, lookup, at_once=at_once)

        there = present(self.fleet, self.rollouts.under_way)
        return await asyncio.to_thread(look)

    async def apply(self, config: Config, generation: int | None = None) -> list[Change]:
        """Makes `config` the desired state and prepares all its models; returns what that changes, before it is done.

        Raises `ConfigError` for changes of what only a restart can change, `Conflict` when another controller wrote, or
        when `generation`, from which the config was made, is not the newest any more.
        """
        changes = await self.plan(config)
        async with self._turn:
            if generation not in (None, self.number):
                raise Conflict(
                    f"the config was made from generation {generation}, and {_described(self.generation)} came since; "
                    "make it anew from that",
                    newest=self.number,
                )
            await self.record.written()
            await self._write(config, "apply", {model.name for model in config.models})
            self._earlier.note(config.document()["models"])
            self._take_over(config, {model.name for model in config.models})
        return changes

    async def edit(
        self,
        change: Callable[[Config], Config],
        again: Iterable[str] = (),
        read: Collection[str] | None = (),
        why: str = "",
        *,
        at_once: bool = False,
    ) -> Edit:
        """Makes what `change` makes of the config the desired state and prepares the models that differ, and those of
        `again`. `change` runs in a thread and may look into the store; what it raises is raised here. A source that a
        version has been made of stays that version, unless it is one of `read`; None reads all again. `why` is what the
        generation says of it. `at_once` changes what answers without the steps of a `rollout`.

        Nothing is written when nothing differs, nor before the records of what was served of these models are in the
        store. One that is not `keep`t is not what `earlier` gives: it may be taken
        back. Raises `Conflict` when another controller wrote.
        """
        async with self._turn:
            former = self.config
            config = await asyncio.to_thread(change, former)
            models = changed(former, config)
            await self.record.written(models.union(again))
            if models:
                await self._write(config, why, to_be_read(former, config, models, read))
            models |= set(again)
            self._take_over(config, models, read, at_once)
        return Edit(former, config, frozenset(models), why)

    def in_force(self, model: str) -> Prepared | None:
        """The model as it is served, None where that is not (or not yet) what is desired."""
        unsettled = model in self.gathered.progress or model in self.gathered.failures
        return self.prepared.get(model) if not unsettled and self.is_served(model) else None

    def is_served(self, model: str) -> bool:
        """Whether the model's route leads to what it was last prepared as, and no rollout is on the way there."""
        return model not in self.rollouts.under_way and self.fleet.is_served(model)

    def prepare_again(self, model: ModelConfig) -> None:
        """Prepares a model of the config once more: what it takes from the store has changed."""
        self._start_preparing(model, ())
        self._on_change()

    def keep(self, edit: Edit) -> None:
        """Says that an edit has come off."""
        self._earlier.note(model for model in edit.written.document()["models"] if model["name"] in edit.models)

    def earlier(self, model: str) -> Document | None:
        """The model as it was last desired. Reads generations; for threads."""
        return self._earlier.find(model)

    def note_step(self) -> None:
        """To be called after each step of the fleet: what it serves is written down, what failed is logged, and who
        waits looks again."""
        self.record.note_step()
        self._failure_log.look()
        stepped, self._stepped = self._stepped, asyncio.Event()
        stepped.set()

    async def step(self, *, now: bool = False) -> None:
        """Returns after the fleet's next step; `now` asks for one."""
        if now:
            self._on_change()
        await self._stepped.wait()

    def _refuse_fixed_changes(self, config: Config) -> None:
        running, asked = (each.model_dump(mode="json", include=FIXED) for each in (self.config, config))
        if found := list(differences(running, asked)):
            told_all = "; ".join(f"{each.path}: runs with {told(each.old)}, got {told(each.new)}" for each in found)
            raise ConfigError(f"{told_all}: restart `onegate up` to change that")

    async def _write(self, config: Config, why: str, read: Collection[str]) -> None:
        """`read` are the models whose sources are to be read."""
        asked = self._asked(config, read)
        self.generation = await asyncio.to_thread(self._append, config, CALLER.get(), why, asked)

    def _asked(self, config: Config, read: Collection[str]) -> dict[str, int]:
        """The newest generation that asks for the sources of a model to be read, by model, when `config` is the next
        and asks for those of `read`."""
        number, before = self.number + 1, self.generation.read
        return {model.name: number if model.name in read else before.get(model.name, 0) for model in config.models}

    def _append(self, config: Config, by: str, why: str, read: dict[str, int]) -> Generation:
        number = self.number + 1
        added = added_models(self.generation, number, config)
        try:
            return generations.append(self.store, number, config.document(), by, why, read, added)
        except Conflict as error:
            newest = generations.newest(self.store)
            assert newest is not None, "whoever was first wrote one"
            raise Conflict(
                f"generation {number} can't be written: another controller wrote {_described(newest)} to store "
                f"{self.store.url!r}; look at that one and repeat the change",
                **error.details,
            ) from error

    def _take_over(
        self, config: Config, models: set[str], read: Collection[str] | None = None, at_once: bool = False
    ) -> None:
        wanted = {model.name: model for model in config.models}
        for gone in {model.name for model in self.config.models} - wanted.keys():
            self.fleet.retire(gone)
            self.rollouts.retire(gone)
            self.gathered.forget(gone)
            self.gathered.note_wanted(gone, ())
            self._sources.forget(gone)
            self.prepared.pop(gone, None)
            if task := self._preparing.pop(gone, None):
                task.cancel()
        self.config = config
        for name in (model.name for model in config.models if model.name in models):
            self._start_preparing(wanted[name], read, at_once)
        self._on_change()

    def _start_preparing(self, model: ModelConfig, read: Collection[str] | None, at_once: bool = False) -> None:
        name, unread = model.name, self._not_read_yet(model.name)
        if previous := self._preparing.get(name):
            previous.cancel()
        self._sources.ask(name, None if read is None or unread is None else {*read, *unread})
        self.gathered.begin(name)
        self.fleet.name(name)
        self.fleet.unavailable.setdefault(name, BEING_PREPARED)
        self._preparing[name] = asyncio.get_running_loop().create_task(self._prepare(model, self.generation, at_once))

    def _not_read_yet(self, model: str) -> Collection[str] | None:
        """The sources that a preparation under way is to read, which the next one has to instead; None is all."""
        under_way = self._preparing.get(model)
        return () if under_way is None or under_way.done() else self._sources.to_read(model)

    async def _prepare(self, model: ModelConfig, generation: Generation, at_once: bool) -> None:
        def on_progress(text: str) -> None:
            self.gathered.note_progress(model.name, text)

        if self._adopted is not None:
            await self._adopted.wait()
        try:
            asked, read = self.generation.read.get(model.name, 0), self._sources.to_read(model.name)
            made = await asyncio.to_thread(self._sources.made, model, asked, read)
            wanted = await self.preparer.prepare(model, self.config.allowed_sources, made, on_progress)

            def on_wanted() -> Made:
                # A second preparation of the first generation brings what the store got since.
                at_start = generation.number == self._first and model.name not in self.prepared
                self.gathered.note_wanted(model.name, (each.entry.key for each in wanted), at_start=at_start)
                self.prepared[model.name] = Prepared(pinned(model, wanted), generation.number, generation.by)
                return self._sources.note_made(model, wanted, generation.number)

            await self.rollouts.lead(model, wanted, generation, on_wanted, at_once=at_once)
        except Exception as error:
            told = presentable(error)
            self.gathered.fail(model.name, told)
            self.fleet.unavailable[model.name] = told.message
        else:
            self.gathered.forget(model.name)
        self._on_change()


def _described(generation: Generation) -> str:
    """`generation 7 (rollback of ranker to 3, by user:ada at 2026-01-02T03:04:05+00:00)`."""
    by = f"by {generation.by} " if generation.by else ""
    why = f"{generation.why}, " if generation.why else ""
    return f"generation {generation.number} ({why}{by}at {generation.created})"
