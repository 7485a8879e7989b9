"""Brings the versions of the newest routing table into a dispatcher, and takes out those that left it.

Order matters: a version is loaded before it is routed to (the controller waits for `ready` reports), and a version that
left the table finishes what it has before its executor is closed.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from model_store.store import Store
from serve.dispatcher import ClosableExecutor, Dispatcher, LoadedVersion
from serve.errors import presentable
from serve.executors.inline import build_inline_executor
from serve.executors.replicas import ReplicasExecutor
from serve.reports import DRAINING, LOADING, READY
from serve.routing import RoutingTable, VersionEntry, VersionKey
from serve.runtimes.base import Runtime, load_runtime

log = logging.getLogger("onegate")


class VersionLoader:
    """Keeps a dispatcher's loaded versions equal to the table's.

    `states` tells the controller how far it is: version -> `ready`, `loading`, `draining`, or the reason why it
    can't be loaded.
    """

    def __init__(self, dispatcher: Dispatcher, folder: Path, node: str, secret: str) -> None:
        self._dispatcher = dispatcher
        self._folder = folder
        self._node = node
        self._secret = secret
        self._tasks: dict[VersionKey, asyncio.Task[None]] = {}
        self.states: dict[VersionKey, str] = {}

    def follow(self, table: RoutingTable) -> None:
        """Takes over `table`: routes at once, loads and unloads in the background."""
        self._dispatcher.router.update(table)
        self._dispatcher.note_change()
        entries = {entry.key: entry for entry in table.versions}
        for key, entry in entries.items():
            loaded = self._dispatcher.loaded.get(key)
            if loaded is None or loaded.entry != entry or self.states.get(key) == DRAINING:
                self._replace_task(key, self._bring_in(table.store, entry))
        for key in (self._dispatcher.loaded.keys() | self._tasks.keys()) - entries.keys():
            if self.states.get(key) != DRAINING:
                self._replace_task(key, self._take_out(key))
        for key in self.states.keys() - entries.keys() - self._tasks.keys():
            del self.states[key]

    async def reconnect(self) -> None:
        """Asks replicas that are listed and not in use whether they answer; to be called every second or so."""
        await asyncio.gather(*map(self._reconnect, list(self._dispatcher.loaded.values())))

    async def _reconnect(self, version: LoadedVersion) -> None:
        if isinstance(version.executor, ReplicasExecutor):
            await version.executor.reconnect()
            self._note_slots(version)

    def _note_slots(self, version: LoadedVersion) -> None:
        """A version that has been ready stays so while its replicas restart: its requests wait."""
        if self.states.get(version.entry.key) == LOADING and version.executor.slots:
            self.states[version.entry.key] = READY

    async def drain(self) -> None:
        """Returns when nothing waits and nothing runs in any version."""
        await asyncio.gather(*(version.queue.drain() for version in list(self._dispatcher.loaded.values())))

    def _replace_task(self, key: VersionKey, work: Coroutine[Any, Any, None]) -> None:
        previous = self._tasks.get(key)

        async def after_previous() -> None:
            if previous is not None:
                await asyncio.gather(previous, return_exceptions=True)
            await work

        task = asyncio.get_running_loop().create_task(after_previous())
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._tasks.pop(key) if self._tasks.get(key) is done else None)

    async def _bring_in(self, store_url: str, entry: VersionEntry) -> None:
        key = entry.key
        loaded = self._dispatcher.loaded.get(key)
        try:
            if loaded is None:
                self.states[key] = LOADING
                await self._load(store_url, entry)
            else:
                await self._adjust(store_url, loaded, entry)
            self._note_slots(self._dispatcher.loaded[key])
        except Exception as error:
            self.states[key] = presentable(error).message
            log.warning("version %s of %s can't be loaded: %s", key[1], key[0], self.states[key])

    async def _load(self, store_url: str, entry: VersionEntry) -> None:
        executor = await self._executor(store_url, entry)
        version = LoadedVersion(entry, executor)
        if isinstance(executor, ReplicasExecutor):
            executor.on_slots = version.queue.wake
        self._dispatcher.loaded[entry.key] = version
        self._dispatcher.note_change()

    async def _adjust(self, store_url: str, loaded: LoadedVersion, entry: VersionEntry) -> None:
        """A loaded version whose replicas, limits or executor changed."""
        old, new = loaded.entry.serve, entry.serve
        loaded.queue.configure(new.batching)
        loaded.deadline_s = new.deadline_ms / 1000
        if isinstance(loaded.executor, ReplicasExecutor) and new.executor == "replicas":
            await loaded.executor.update(entry.replicas)
        elif (old.executor, old.cpus) != (new.executor, new.cpus):
            retired = loaded.executor
            loaded.executor = await self._executor(store_url, entry)
            if isinstance(loaded.executor, ReplicasExecutor):
                loaded.executor.on_slots = loaded.queue.wake
            loaded.queue.replace_executor(loaded.executor)
            await loaded.queue.settled()
            await retired.close()
        loaded.entry = entry

    async def _executor(self, store_url: str, entry: VersionEntry) -> ClosableExecutor:
        if entry.serve.executor == "replicas":
            executor = ReplicasExecutor(entry.key, self._node, self._secret)
            await executor.update(entry.replicas)
            return executor
        runtime = await asyncio.to_thread(load_version, store_url, entry, self._folder)
        batching = entry.serve.batching
        return await asyncio.to_thread(build_inline_executor, runtime, entry.manifest, batching.max_batch_size)

    async def _take_out(self, key: VersionKey) -> None:
        version = self._dispatcher.loaded.get(key)
        if version is None:
            self.states.pop(key, None)
            return
        self.states[key] = DRAINING
        await version.queue.drain()
        del self._dispatcher.loaded[key]
        await version.executor.close()
        self.states.pop(key, None)


def load_version(store_url: str, entry: VersionEntry, folder: Path) -> Runtime:
    """The runtime of a version in the store, loaded from files that were checked against their digests.

    Raises `StoreError`, `IntegrityError` or `ModelNotReady`.
    """
    store = Store(store_url)
    place = folder / f"{entry.key[0]}-v{entry.key[1]}"
    shutil.rmtree(place, ignore_errors=True)
    try:
        store.checkout(entry.manifest, place)
        return load_runtime(place, entry.manifest, threads=entry.serve.cpus)
    finally:
        # ONNX Runtime has mapped or copied what it needs; nothing is left behind if the process is killed later.
        shutil.rmtree(place, ignore_errors=True)
