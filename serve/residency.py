"""Which versions stay loaded in this process when not all of them may: a budget, and who goes first.

A version that goes leaves its queue, its limits, its counters and its cache where they are, with a `ParkedExecutor`
behind them; its next request waits in the queue, and has it loaded again. Without a budget nothing here costs anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from model_store.errors import OutOfMemory
from model_store.manifest import Manifest
from serve.errors import presentable
from serve.executors.base import ClosableExecutor
from serve.executors.inline import InlineExecutor
from serve.executors.parked import ParkedExecutor
from serve.lanes import LoadedVersion
from serve.memory import give_back, loaded_bytes
from serve.routing import VersionEntry, VersionKey

log = logging.getLogger("onegate")

BESIDE_FILES_BYTES = 512 * 1024
"""What a loaded version takes beyond its files, about: a test holds a small one to less."""

ROOM_PAUSE_S = 0.02
"""Between two looks for a version that is not in use, when all that would make room are."""

Load = Callable[[VersionEntry], Awaitable[InlineExecutor]]


class Residency:
    """Loads versions into this process, one at a time where there is a budget, and unloads others to make room.

    `loaded` are all versions that the process has, `load` brings a runtime in, `on_change` hears of those that go and
    come back. `limit_bytes` 0 is no limit.
    """

    def __init__(
        self,
        limit_bytes: int,
        loaded: Mapping[VersionKey, LoadedVersion],
        load: Load,
        on_change: Callable[[LoadedVersion], None],
    ) -> None:
        self._limit_bytes = limit_bytes
        self._loaded = loaded
        self._load = load
        self._on_change = on_change
        self._turn = asyncio.Lock()
        self._coming: set[VersionKey] = set()

    async def executor(self, entry: VersionEntry) -> InlineExecutor:
        """The version's runtime, loaded; to be put in place before anything else is awaited.

        Raises `OutOfMemory` for a version that is larger than the budget, and what loading raises.
        """
        if not self._limit_bytes:
            return await self._load(entry)
        async with self._turn:
            await self._make_room(entry.manifest)
            return await self._load(entry)

    def begin_return(self, version: LoadedVersion) -> bool:
        """Whether the version is unloaded, and nobody has begun to bring it back: `bring_back` is to be called then."""
        if version.key in self._coming or not is_parked(version):
            return False
        self._coming.add(version.key)
        return True

    async def bring_back(self, version: LoadedVersion) -> None:
        """Loads an unloaded version again for the requests that wait; where that fails, they get the error."""
        try:
            # What its way of running was changed to may have taken its place meanwhile.
            if is_parked(version):
                executor = await self.executor(version.entry)
                version.replace_executor(executor)
                self._on_change(version)
        except Exception as error:
            told = presentable(error)
            log.warning("version %s of %s can't be loaded again: %s", version.key[1], version.key[0], told.message)
            version.fail_waiting(told)
        finally:
            self._coming.discard(version.key)

    async def _make_room(self, manifest: Manifest) -> None:
        needed = resident_bytes(manifest)
        if needed > self._limit_bytes:
            raise OutOfMemory(
                f"model {manifest.name!r} version {manifest.version} takes about {_mib(needed)} MiB, "
                f"`gateway.model_memory_mib` is {_mib(self._limit_bytes)}; raise that, or run the model on replicas",
                needed_bytes=needed,
                available_bytes=self._limit_bytes,
            )
        while self.used_bytes() + needed > self._limit_bytes:
            version = least_recently_used(self._loaded.values())
            if version is None:
                await asyncio.sleep(ROOM_PAUSE_S)
            else:
                await self._park(version)

    def used_bytes(self) -> int:
        """About what the versions take that are loaded in this process."""
        return sum(
            resident_bytes(entry.manifest)
            for version in self._loaded.values()
            for entry, executor in ((version.entry, version.executor), (version.next_entry, version.successor))
            if isinstance(executor, InlineExecutor)
        )

    async def _park(self, version: LoadedVersion) -> None:
        retired: ClosableExecutor = version.executor
        version.replace_executor(ParkedExecutor())
        self._on_change(version)
        log.info("version %s of %s is unloaded until its next request", version.key[1], version.key[0])
        await retired.close()
        del retired
        await asyncio.to_thread(give_back)


def is_parked(version: LoadedVersion) -> bool:
    """Whether it was unloaded, until its next request."""
    return isinstance(version.executor, ParkedExecutor)


def least_recently_used(versions: Iterable[LoadedVersion]) -> LoadedVersion | None:
    """Of the versions that are loaded in this process and not in use, the one whose last use is longest ago."""
    unused = [each for each in versions if isinstance(each.executor, InlineExecutor) and not each.rows]
    return min(unused, key=_used_ms, default=None)


def resident_bytes(manifest: Manifest) -> int:
    """About what a version takes in the process that runs it."""
    return loaded_bytes(manifest) + BESIDE_FILES_BYTES


def _used_ms(version: LoadedVersion) -> float:
    return version.used_ms


def _mib(size_bytes: int) -> int:
    return -(-size_bytes // 2**20)
