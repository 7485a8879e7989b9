"""The controller's side of keys: looks into the store whether there are newer ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from model_store import access_keys
from model_store.access_keys import AccessKey
from model_store.errors import StoreError
from model_store.store import Store

log = logging.getLogger("onegate")

LOOK_S = 2.0


class StoredKeys:
    """Tells `on_change` the keys of the newest ring, after each change. While the store is away, or the newest ring is
    damaged, the keys stay what they were."""

    def __init__(self, store: Store, on_change: Callable[[tuple[AccessKey, ...]], None]) -> None:
        self._store = store
        self._on_change = on_change
        self._number = -1
        self._failing = False
        self._turn = asyncio.Lock()

    async def follow(self) -> None:
        """Looks again and again."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Looks once, in a thread; looks take turns, so that none tells of an older ring than the one before."""
        try:
            async with self._turn:
                await self._look()
        except StoreError as error:
            if not self._failing:
                log.warning("keys stay what they were: %s", error.message)
            self._failing = True
        else:
            self._failing = False

    async def _look(self) -> None:
        number = await asyncio.to_thread(access_keys.newest_number, self._store)
        if number != self._number:
            ring = await asyncio.to_thread(access_keys.newest, self._store)
            self._number = ring.number
            self._on_change(ring.keys)
