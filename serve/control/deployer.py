"""Keeps the Ray Serve applications equal to what the fleet needs.

Nothing is remembered that could be lost: each pass compares what is wanted with what Ray Serve runs, so that a pass
that failed, or was cut off with its controller, is made good by the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from model_store.errors import OnegateError
from serve.control import deployments
from serve.replica import ModelSettings
from serve.reports import deployment_text, failure_text
from serve.routing import VersionEntry, VersionKey

log = logging.getLogger("onegate")

PASS_S = 2.0
"""Between two passes while replicas are still to come."""

IDLE_PASS_S = 15.0
"""Between two passes otherwise, when nobody asks for one. Each costs Ray Serve a few milliseconds."""

Wanted = dict[VersionKey, VersionEntry]


class Deployer:
    """Makes passes until it is cancelled.

    `wanted` gives the versions that need replicas, `reported` the deployment texts of a version's live replicas,
    `on_trouble` hears of versions that can't be deployed, `on_wait` of those that Ray has no room for yet.
    """

    def __init__(
        self,
        wanted: Callable[[], Wanted],
        reported: Callable[[VersionKey], set[str]],
        settings: Callable[[VersionEntry], ModelSettings],
        on_trouble: Callable[[VersionKey, str], None],
        on_wait: Callable[[VersionKey, str], None],
    ) -> None:
        self._wanted = wanted
        self._reported = reported
        self._settings = settings
        self._on_trouble = on_trouble
        self._on_wait = on_wait
        self._known: dict[VersionKey, tuple[str, int]] = {}
        """What this controller has deployed: deployment text and number of replicas."""
        self._hurry = asyncio.Event()
        self._last: Wanted = {}

    def note_change(self) -> None:
        """Asks for a pass soon if other versions are wanted than in the last one."""
        if self._wanted() != self._last:
            self._hurry.set()

    async def run(self) -> None:
        """Makes passes for ever."""
        while True:
            complete = False
            try:
                await self._pass()
                complete = all(self._is_complete(key, entry) for key, entry in self._last.items())
            except Exception as error:
                log.warning("Ray Serve does not answer: %s", " ".join(str(error).split())[:200])
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_PASS_S if complete else PASS_S):
                    await self._hurry.wait()

    def _is_complete(self, key: VersionKey, entry: VersionEntry) -> bool:
        return self._reported(key) == ({deployment_text(entry)} if entry.serve.replicas else set())

    async def _pass(self) -> None:
        self._hurry.clear()
        wanted = self._last = self._wanted()
        running = await asyncio.to_thread(deployments.running_versions)
        for key, entry in wanted.items():
            found = running.get(key)
            if found is not None and found.deleting:
                continue
            if found is not None and found.trouble is not None and self._known.get(key) == _described(entry):
                self._on_trouble(key, found.trouble)
                continue
            await self._bring_about(key, entry, found is not None)
            if found is not None and found.waiting is not None:
                self._on_wait(key, found.waiting)
        for key in running.keys() - wanted.keys():
            self._known.pop(key, None)
            if not running[key].deleting:
                await asyncio.to_thread(deployments.delete_version, key)

    async def _bring_about(self, key: VersionKey, entry: VersionEntry, exists: bool) -> None:
        text, replicas = _described(entry)
        known = self._known.get(key) if exists else None
        if exists and known is None and self._reported(key) == {text}:
            # An earlier controller deployed it; its replicas stay, however many there are to be.
            known = (text, 0)
        if known == (text, replicas):
            return
        if not replicas:
            # What is not deployed is deployed when it is to have a replica; what is keeps its settings until then.
            text = "" if known is None else known[0]
            if exists and (known is None or known[1]):
                await asyncio.to_thread(deployments.scale_version, key, 0)
        elif known is not None and known[0] == text:
            await asyncio.to_thread(deployments.scale_version, key, replicas)
        else:
            try:
                await asyncio.to_thread(deployments.deploy_version, self._settings(entry), replicas)
            except OnegateError as error:
                self._on_trouble(key, failure_text(error))
                return
            except (ValueError, TypeError, RuntimeError) as error:
                self._on_trouble(key, " ".join(str(error).split())[:500])
                return
        self._known[key] = (text, replicas)


def _described(entry: VersionEntry) -> tuple[str, int]:
    return deployment_text(entry), entry.serve.replicas
