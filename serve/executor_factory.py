"""Makes the executors of versions: inline, on replicas, or upstream; and tells them what changed in place."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from serve.executors.base import ClosableExecutor
from serve.executors.inline import InlineExecutor, build_inline_executor
from serve.executors.remote import RemoteExecutor
from serve.executors.replicas import ReplicasExecutor
from serve.routing import VersionEntry
from serve.runtime_loading import load_version
from serve.shared_memory import RegionPool
from serve.store_policy import NO_POLICY, StorePolicy


class ExecutorFactory:
    """Of one gateway, on `node`. Files of versions pass through `folder`; `secret` is what replicas want to hear."""

    def __init__(self, folder: Path, node: str, secret: str, policy: StorePolicy = NO_POLICY) -> None:
        # Of their own: a store that is slow must keep no request waiting for a thread.
        self._threads = ThreadPoolExecutor(thread_name_prefix="load")
        self._folder = folder
        self._node = node
        self._secret = secret
        self._policy = policy
        self.regions = RegionPool()
        self.store_url = ""
        """Where versions come from; told by the routing table."""

    async def inline(self, entry: VersionEntry) -> InlineExecutor:
        """The version's runtime in this process; raises as `load_version`."""
        loop, batching = asyncio.get_running_loop(), entry.serve.batching
        load = partial(load_version, self.store_url, entry, self._folder, policy=self._policy)
        runtime = await loop.run_in_executor(self._threads, load)
        return await loop.run_in_executor(
            self._threads,
            build_inline_executor,
            runtime,
            entry.manifest,
            batching.max_batch_size,
            batching.preferred,
        )

    async def remote(self, entry: VersionEntry) -> ClosableExecutor:
        """The version's replicas, or the upstream servers. Raises `StoreError` and `NotSigned` for the latter."""
        if entry.serve.executor == "upstream":
            if self._policy.public_keys is not None:
                await asyncio.get_running_loop().run_in_executor(self._threads, self._check_signed, entry)
            return await _upstream(entry)
        replicas = ReplicasExecutor(entry.key, self._node, self._secret, self.regions)
        await update(replicas, entry)
        return replicas

    def _check_signed(self, entry: VersionEntry) -> None:
        """Of a version that has no files here, as `load_version` does of others."""
        self._policy.check(self._policy.open(self.store_url), entry.manifest)


async def update(executor: ClosableExecutor, entry: VersionEntry) -> None:
    """Takes over what changes without another executor."""
    if isinstance(executor, RemoteExecutor):
        hedge_ms = entry.serve.hedge_ms
        executor.hedge_s = None if hedge_ms is None else hedge_ms / 1000
    if isinstance(executor, ReplicasExecutor):
        await executor.update(entry.replicas)


async def _upstream(entry: VersionEntry) -> ClosableExecutor:
    # Its library is an extra.
    from serve.executors.upstream import UpstreamExecutor

    executor = UpstreamExecutor(entry)
    await update(executor, entry)
    await executor.reconnect()
    return executor
