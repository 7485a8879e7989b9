"""The versions that a process holds loaded, each with a lane a signature: check, batch queue, response cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from model_store.errors import InvalidInput, ModelNotFound, ModelNotReady, OnegateError
from model_store.manifest import PAYLOAD, Manifest, Signature
from serve.admission import SignatureCheck
from serve.batching import BatchQueue
from serve.cache import ResponseCache, request_key
from serve.executors.base import ClosableExecutor, Executor, SignatureView
from serve.inference import InferenceRequest, Tensors
from serve.payloads import signatures_with_payload, to_tensors
from serve.reports import VersionLoad
from serve.request_record import RequestRecord
from serve.routing import ServeOptions, VersionEntry
from serve.statistics import VersionStatistics

FAILED_FROM_STATUS = 400
"""Bodies that answer with this status or a higher one are not kept."""


class Lane:
    """The way of one signature's requests: its check and its batch queue."""

    __slots__ = ("answers_payloads", "check", "name", "queue", "signature")

    def __init__(
        self, entry: VersionEntry, name: str, signature: Signature, executor: Executor, statistics: VersionStatistics
    ) -> None:
        manifest = entry.manifest
        self.name = name
        self.signature = signature
        self.check = SignatureCheck(manifest.name, signature)
        self.answers_payloads = name == PAYLOAD
        self.queue = BatchQueue(
            executor,
            entry.serve.batching,
            statistics,
            mergeable=manifest.row_independent and self.check.batched,
            ragged=self.check.ragged,
            whole=manifest.fixed_batch.get(name, 1),
            # A body that nobody sent must not reach a handler, nor be decoded for nothing.
            fillable=not self.answers_payloads,
        )

    def read(self, request: InferenceRequest) -> Tensors:
        """What the request carries as this signature's inputs; raises `InvalidInput` where it is none of them."""
        if request.read_inputs is not None:
            return request.read_inputs(self.signature)
        if request.payload is None:
            raise InvalidInput("a request carries tensors or a raw body, got neither")
        return to_tensors(request.payload) if self.answers_payloads else self.check.from_payload(request.payload)

    def keeps(self, outputs: Tensors) -> bool:
        """Whether an answer may be kept for the next one who asks the same."""
        return not self.answers_payloads or int(outputs["status"][0]) < FAILED_FROM_STATUS


class LoadedVersion:
    """A version that this process can run: its entry, its executor, and a lane for each signature.

    While the way it is run changes, `successor` is the executor to come, for `next_entry`. `statistics` go on from an
    earlier time that it was loaded, if they are given.
    """

    def __init__(
        self, entry: VersionEntry, executor: ClosableExecutor, statistics: VersionStatistics | None = None
    ) -> None:
        self.entry = entry
        self.executor = executor
        self.successor: ClosableExecutor | None = None
        self.next_entry = entry
        self.loaded_ms = time.time() * 1000
        self.key = entry.key
        self.name = entry.manifest.name
        self.labels = entry.manifest.labels
        self.statistics = statistics or VersionStatistics(self.name, str(self.key[1]))
        signatures = signatures_with_payload(entry.manifest)
        default = entry.manifest.default_signature
        self.default = Lane(entry, default, signatures.pop(default), executor, self.statistics)
        self._others = {
            name: Lane(entry, name, signature, SignatureView(executor, name), self.statistics)
            for name, signature in signatures.items()
        }
        self.trouble: str | None = None
        """Why it can't run now, though it is loaded."""
        self._given_up = asyncio.Event()
        self.cache: ResponseCache | None = None
        """None where answers are not kept."""
        self.configure(entry.serve)

    def lane(self, signature: str | None) -> Lane:
        """Where requests of that signature go, None standing for the default; raises `ModelNotFound`."""
        manifest = self.entry.manifest
        if signature is None or signature == manifest.default_signature:
            return self.default
        if signature not in self._others:
            listed = ", ".join(manifest.signatures)
            raise ModelNotFound(
                f"model {manifest.name!r} has no signature {signature!r:.60}; signatures: {listed}",
                model=manifest.name,
                signature=signature,
            )
        return self._others[signature]

    async def infer_cached(
        self,
        lane: Lane,
        inputs: Tensors,
        rows: int,
        deadline: float,
        priority: int,
        record: RequestRecord | None = None,
    ) -> Tensors:
        """All outputs for inputs that were checked, from the cache where it has them; raises as `BatchQueue.run`."""
        begin = time.perf_counter_ns()
        key = await request_key(lane.name, inputs)
        kept = None if self.cache is None else self.cache.get(key)
        looked_up = self.statistics.cache_miss if kept is None else self.statistics.cache_hit
        looked_up.add(time.perf_counter_ns() - begin)
        if kept is not None:
            return kept
        outputs = await lane.queue.run(inputs, rows, deadline, priority, record)
        if self.cache is not None and lane.keeps(outputs):
            self.cache.put(key, outputs)
        return outputs

    def _lanes(self) -> list[Lane]:
        return [self.default, *self._others.values()]

    @property
    def rows(self) -> int:
        """Rows that wait or run."""
        return sum(lane.queue.rows for lane in self._lanes())

    @property
    def waiting_rows(self) -> int:
        """Rows that no batch has taken yet."""
        rows = self.default.queue.waiting_rows
        for lane in self._others.values():
            rows += lane.queue.waiting_rows
        return rows

    @property
    def used_ms(self) -> float:
        """When a batch of it last ended, or its executor was put in place: milliseconds since 1970."""
        return max(self.statistics.last_inference_ms, self.loaded_ms)

    def load(self) -> VersionLoad:
        """What there is to do, for the controller. Copies for a shadow are no load: they are dropped instead."""
        asked_rows = sum(lane.queue.asked_rows for lane in self._lanes())
        return VersionLoad(asked_rows, self.statistics.idle_s, self.statistics.busy_s)

    def on_starved(self, call: Callable[[], None]) -> None:
        """Has `call` called whenever requests come to wait for an executor that can run nothing."""
        for lane in self._lanes():
            lane.queue.on_starved = call

    def fail_waiting(self, error: Exception) -> None:
        """Answers all that waits with `error`."""
        for lane in self._lanes():
            lane.queue.fail_waiting(error)

    def configure(self, serve: ServeOptions) -> None:
        """Takes over new limits for what comes from now on."""
        self.deadline_s = serve.deadline_ms / 1000
        # Replicas fill batches up themselves: rows that nobody asked for need not travel.
        batching = (
            serve.batching if serve.executor == "inline" else msgspec.structs.replace(serve.batching, preferred=())
        )
        for lane in self._lanes():
            lane.queue.configure(batching)
        max_bytes = serve.cache_mib * 1024 * 1024 if repeats(self.entry.manifest) else 0
        if (0 if self.cache is None else self.cache.max_bytes) != max_bytes:
            self.cache = ResponseCache(max_bytes) if max_bytes else None

    def replace_executor(self, executor: ClosableExecutor) -> None:
        """Later batches run in `executor`; those under way end where they are."""
        self.executor = executor
        self.loaded_ms = time.time() * 1000
        self.default.queue.replace_executor(executor)
        for name, lane in self._others.items():
            lane.queue.replace_executor(SignatureView(executor, name))

    def give_up(self, trouble: OnegateError) -> None:
        """The version can't run for now: the batch that has run for longest has failed of `trouble`, what waits, and
        comes from now on, is told it."""
        self.trouble = trouble.message
        self._given_up.set()
        for lane in self._lanes():
            lane.queue.give_up(trouble, ModelNotReady(trouble.message))

    def wake(self) -> None:
        """To be called when the executor has got slots it did not have before."""
        for lane in self._lanes():
            lane.queue.wake()

    def recover(self) -> None:
        """It can run again: the batch that did not end has ended after all, or its servers answer."""
        self.trouble = None
        self._given_up.clear()

    async def drain(self) -> None:
        """Returns when nothing waits and nothing runs, or what runs does not end."""
        lanes = asyncio.gather(*(lane.queue.drain() for lane in self._lanes()))
        given_up = asyncio.ensure_future(self._given_up.wait())
        given_up.add_done_callback(lambda _: lanes.cancel())
        try:
            await asyncio.wait([lanes])
        finally:
            lanes.cancel()
            given_up.cancel()

    async def settled(self) -> None:
        """Returns when the batches that run now have ended."""
        await asyncio.gather(*(lane.queue.settled() for lane in self._lanes()))


def repeats(manifest: Manifest) -> bool:
    """Whether equal inputs get equal answers, as far as is known: a handler may do as it likes."""
    return manifest.runtime != "handler" and (manifest.parity is None or manifest.parity.deterministic)
