"""Brings the versions of the newest routing table into a dispatcher, and takes out those that left it.

Order matters: a version is loaded before it is routed to (the controller waits for `ready` reports), and a version that
left the table finishes what it has before its executor is closed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from model_store.errors import ModelNotReady, StoreError
from serve.dispatcher import Dispatcher
from serve.errors import presentable
from serve.executor_factory import ExecutorFactory, update
from serve.executors.base import ClosableExecutor
from serve.executors.remote import RemoteExecutor
from serve.lanes import LoadedVersion
from serve.reports import DRAINING, IDLE, LOADING, READY, TROUBLE, VersionLoad, failure_text
from serve.residency import Residency, is_parked
from serve.routing import RoutingTable, VersionEntry, VersionKey, runs_differently
from serve.store_policy import NO_POLICY, StorePolicy
from serve.watchdog import trouble_of

log = logging.getLogger("onegate")

RETRY_S = 10.0
"""Between two tries to load a version that the store could not give; it may have been away."""


class VersionLoader:
    """Keeps a dispatcher's loaded versions equal to the table's, within a budget of `memory_bytes`; 0 is no limit.

    `states` tells the controller how far it is: version -> `ready`, `idle`, `loading`, `draining`, or the reason why it
    can't be loaded. `on_change` is called when that, or the table, has become another, and when requests wait for a
    version that has no replica.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        folder: Path,
        node: str,
        secret: str,
        on_change: Callable[[], None] = lambda: None,
        memory_bytes: int = 0,
        policy: StorePolicy = NO_POLICY,
    ) -> None:
        self._dispatcher = dispatcher
        self._on_change = on_change
        self._executors = ExecutorFactory(folder, node, secret, policy)
        self.regions = self._executors.regions
        self._wanted: dict[VersionKey, VersionEntry] = {}
        self._tasks: dict[VersionKey, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._failed_at: dict[VersionKey, float] = {}
        """Versions that the store could not give, and when."""
        self.states = dispatcher.states
        self._residency = Residency(memory_bytes, dispatcher.loaded, self._executors.inline, self._note_residency)
        self._waited_for: set[VersionKey] = set()
        """Versions whose requests wait for a first replica, as the controller has been told."""

    def follow(self, table: RoutingTable) -> None:
        """Takes over `table`: routes at once, loads and unloads in the background."""
        self._dispatcher.router.update(table)
        self._dispatcher.observer.follow()
        self._dispatcher.note_change()
        before, self._executors.store_url = self._wanted, table.store
        entries = self._wanted = {entry.key: entry for entry in table.versions}
        for key, entry in entries.items():
            task = self._tasks.get(key)
            if task is None or task.done() or before.get(key) != entry:
                self._follow_entry(key, entry)
        for key in (self._dispatcher.loaded.keys() | self._tasks.keys()) - entries.keys():
            if key in self._tasks or self.states.get(key) != DRAINING:
                self._replace_task(key, partial(self._take_out, key))
        for key in self.states.keys() - entries.keys() - self._tasks.keys():
            del self.states[key]
        self._on_change()

    def _note_state(self, key: VersionKey, state: str) -> None:
        if self.states.get(key) != state:
            self.states[key] = state
            self._on_change()

    def _forget_state(self, key: VersionKey) -> None:
        if self.states.pop(key, None) is not None:
            self._on_change()

    def _follow_entry(self, key: VersionKey, entry: VersionEntry) -> None:
        loaded = self._dispatcher.loaded.get(key)
        if loaded is None or self.states.get(key) == DRAINING or runs_differently(loaded.entry, entry):
            # Said before anything is done: the next heartbeat must not claim `ready` for what this table asks.
            self._note_state(key, LOADING)
        if key in self._tasks or loaded is None or loaded.entry != entry or self.states.get(key) not in (READY, IDLE):
            self._replace_task(key, partial(self._bring_in, entry))

    async def reconnect(self) -> None:
        """Asks replicas that are listed and not in use whether they answer, and a store that failed; to be called every
        second or so."""
        self.regions.trim()
        self._look_for_trouble()
        self._try_again()
        # Not those that only this process runs: a gateway may hold a thousand, with nothing to ask of any.
        versions = [
            version
            for version in self._dispatcher.loaded.values()
            if isinstance(version.executor, RemoteExecutor) or version.successor is not None
        ]
        await asyncio.gather(*map(self._reconnect, versions))

    def _look_for_trouble(self) -> None:
        """A thread can't be ended, nor another server brought back: its version is not ready until that is over."""
        for key, version in self._dispatcher.loaded.items():
            trouble = trouble_of(version.entry, version.executor)
            if trouble is not None:
                if version.trouble is None:
                    log.error("not ready, everything else goes on: %s", trouble.message)
                    version.give_up(trouble)
                if self._runs_as_wanted(version):
                    self._note_state(key, TROUBLE + failure_text(ModelNotReady(version.trouble or trouble.message)))
            elif version.trouble is not None:
                version.recover()
                if self._runs_as_wanted(version):
                    self._note_state(key, READY)

    def _runs_as_wanted(self, version: LoadedVersion) -> bool:
        """Whether how the version does now says how what the table asks for does: not while it is taken out, nor while
        another executor is to follow, which may be the way out."""
        wanted = self._wanted.get(version.key)
        return wanted is not None and version.successor is None and not runs_differently(version.entry, wanted)

    def _try_again(self) -> None:
        """Of a version that answers elsewhere the controller sends no new entry: a gateway that could not load it when
        it started would stay without it."""
        now = time.monotonic()
        for key in [key for key, failed_at in self._failed_at.items() if now - failed_at >= RETRY_S]:
            del self._failed_at[key]
            entry = self._wanted.get(key)
            if entry is not None and key not in self._tasks and self.states.get(key) not in (READY, IDLE):
                self._replace_task(key, partial(self._bring_in, entry, again=True))

    async def _reconnect(self, version: LoadedVersion) -> None:
        for executor in (version.executor, version.successor):
            if isinstance(executor, RemoteExecutor):
                await executor.reconnect()
        if version.entry.key not in self._tasks:
            # A task that is at work on the version does this itself when it is done.
            await self._succeed(version)

    async def _succeed(self, version: LoadedVersion) -> None:
        """Hands over to the executor that is to follow, from when it can run; tells how far the version is."""
        successor, key = version.successor, version.entry.key
        if successor is not None and successor.slots:
            retired, version.successor = version.executor, None
            version.entry = version.next_entry
            version.replace_executor(successor)
            self._close_later(version, retired)
        wanted = self._wanted.get(key)
        if wanted is None or version.successor is not None or runs_differently(version.entry, wanted):
            return
        if self.states.get(key) != LOADING or version.trouble is not None:
            # A version that has been ready stays so while its replicas restart: its requests wait.
            return
        if is_parked(version):
            self._note_state(key, IDLE)
        elif version.executor.slots or not wanted.serve.replicas:
            self._note_state(key, READY)

    def _close_later(self, version: LoadedVersion, retired: ClosableExecutor) -> None:
        async def close() -> None:
            await version.settled()
            await retired.close()

        task = asyncio.get_running_loop().create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def drain(self) -> None:
        """Returns when nothing waits and nothing runs in any version."""
        await asyncio.gather(*(version.drain() for version in list(self._dispatcher.loaded.values())))

    def _replace_task(self, key: VersionKey, work: Callable[[], Awaitable[None]]) -> None:
        previous = self._tasks.get(key)

        async def after_previous() -> None:
            if previous is not None:
                await asyncio.gather(previous, return_exceptions=True)
            await work()

        task = asyncio.get_running_loop().create_task(after_previous())
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._tasks.pop(key) if self._tasks.get(key) is done else None)

    async def _bring_in(self, entry: VersionEntry, again: bool = False) -> None:
        """Loads the version, or changes how it runs. `again`, it is loading only when that has come off: requests would
        wait for it where they are told why it is not there."""
        key = entry.key
        if self._wanted.get(key) != entry:
            return  # a newer table has come while this waited for its turn
        try:
            loaded = self._dispatcher.loaded.get(key)
            if loaded is None:
                if not again:
                    self._note_state(key, LOADING)
                loaded = await self._load(entry)
                self._note_state(key, LOADING)
            else:
                await self._adjust(loaded, entry)
            await self._succeed(loaded)
        except Exception as error:
            told = presentable(error)
            if isinstance(told, StoreError):
                self._failed_at[key] = time.monotonic()
            if self.states.get(key) != failure_text(told):
                log.warning("version %s of %s can't be loaded: %s", key[1], key[0], told.message)
            self._note_state(key, failure_text(told))

    async def _load(self, entry: VersionEntry) -> LoadedVersion:
        executor = await self._executor(entry)
        version = LoadedVersion(entry, executor, self._dispatcher.statistics_of(entry.key))
        version.on_starved(partial(self._on_starved, version))
        self._wake_on_slots(version, executor)
        self._dispatcher.loaded[entry.key] = version
        self._dispatcher.note_change()
        return version

    async def _adjust(self, loaded: LoadedVersion, entry: VersionEntry) -> None:
        """A loaded version whose replicas, limits or executor changed. One that answers goes on answering meanwhile."""
        loaded.configure(entry.serve)
        if not runs_differently(loaded.entry, entry):
            await self._drop_successor(loaded)
            await update(loaded.executor, entry)
            loaded.entry = entry
            if self.states[entry.key] not in (READY, IDLE) and loaded.trouble is None:
                self._note_state(entry.key, LOADING)
            return
        if loaded.successor is not None and not runs_differently(loaded.next_entry, entry):
            await update(loaded.successor, entry)
        else:
            await self._drop_successor(loaded)
            loaded.successor = await self._executor(entry)
            self._wake_on_slots(loaded, loaded.successor)
        loaded.next_entry = entry

    async def _drop_successor(self, loaded: LoadedVersion) -> None:
        if loaded.successor is not None:
            successor, loaded.successor = loaded.successor, None
            await successor.close()

    def _wake_on_slots(self, version: LoadedVersion, executor: ClosableExecutor) -> None:
        if isinstance(executor, RemoteExecutor):
            executor.on_slots = version.wake

    async def _executor(self, entry: VersionEntry) -> ClosableExecutor:
        if entry.serve.executor == "inline":
            return await self._residency.executor(entry)
        return await self._executors.remote(entry)

    # -- what is not loaded all the time -----------------------------------------------------------------------------

    def loads(self) -> dict[VersionKey, VersionLoad]:
        """What there is to do for the versions whose number of replicas moves, to be told to the controller."""
        loads = {
            key: version.load()
            for key, version in self._dispatcher.loaded.items()
            if version.entry.serve.scaling is not None
        }
        self._waited_for = {key for key, load in loads.items() if load.rows}
        return loads

    def _note_residency(self, version: LoadedVersion) -> None:
        # Not while the way it is run changes: that is not ready.
        if self.states.get(version.key) in (READY, IDLE):
            self._note_state(version.key, IDLE if is_parked(version) else READY)

    def _on_starved(self, version: LoadedVersion) -> None:
        key = version.key
        if self._residency.begin_return(version):
            self._replace_task(key, partial(self._residency.bring_back, version))
        elif version.entry.serve.scaling is not None and key not in self._waited_for:
            self._waited_for.add(key)
            self._on_change()

    async def _take_out(self, key: VersionKey) -> None:
        if key in self._wanted:
            return  # a newer table has it again
        version = self._dispatcher.loaded.get(key)
        if version is None:
            self._forget_state(key)
            return
        self._note_state(key, DRAINING)
        await version.drain()
        del self._dispatcher.loaded[key]
        await self._drop_successor(version)
        await version.executor.close()
        self._forget_state(key)
