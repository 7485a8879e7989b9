"""The one dispatcher under all dialects: a query in, an answer out.

A request's way here: router -> signature check -> the version's batch queue -> its executor. The dispatcher owns the
versions that this process holds loaded; `serve/loading.py` brings them in and takes them out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from model_store.errors import DeadlineExceeded, InvalidInput, ModelNotFound, ModelNotReady, Overloaded, Unsupported
from model_store.manifest import PAYLOAD, Signature
from serve.admission import SignatureCheck
from serve.batching import BatchQueue, Executor
from serve.inference import (
    AllModels,
    AllModelsQuery,
    Answer,
    InferenceRequest,
    InferenceResponse,
    ModelDescription,
    ModelQuery,
    Query,
    ServerDescription,
    ServerQuery,
    Statistics,
    StatisticsQuery,
    StatusQuery,
    Tensors,
)
from serve.operations import ModelList
from serve.payloads import from_tensors, signatures_with_payload, to_tensors
from serve.routing import Batching, Router, VersionEntry, VersionKey

UNTOLD_DEADLINE_S = 30.0
"""For requests that name no deadline, while the model's own limit is not known here yet."""

MAX_WAITING = 1024
"""Requests that may wait for a version to load, over all models."""


class ClosableExecutor(Executor, Protocol):
    """An executor that gives back what it holds, and runs signatures other than the version's default one."""

    def run(self, inputs: Tensors, deadline: float, signature: str | None = None) -> Tensors | Awaitable[Tensors]:
        """As `Executor.run`; None stands for the default signature."""

    async def close(self) -> None:
        """To be called when nothing runs any more."""


class SignatureView:
    """An executor as the batch queue of a signature other than the default sees it."""

    def __init__(self, executor: ClosableExecutor, signature: str) -> None:
        self._executor = executor
        self._signature = signature

    @property
    def slots(self) -> int:
        """Batches that may run at once, those of other signatures included."""
        return self._executor.slots

    def run(self, inputs: Tensors, deadline: float) -> Tensors | Awaitable[Tensors]:
        """The outputs of one batch."""
        return self._executor.run(inputs, deadline, self._signature)


class Lane:
    """The way of one signature's requests: its check and its batch queue."""

    __slots__ = ("answers_payloads", "check", "queue", "signature")

    def __init__(self, entry: VersionEntry, name: str, signature: Signature, executor: Executor) -> None:
        manifest = entry.manifest
        self.signature = signature
        self.check = SignatureCheck(manifest.name, signature)
        self.answers_payloads = name == PAYLOAD
        self.queue = BatchQueue(
            executor,
            entry.serve.batching,
            mergeable=manifest.row_independent and self.check.batched,
            ragged=self.check.ragged,
            whole=manifest.fixed_batch.get(name, 1),
        )

    def read(self, request: InferenceRequest) -> Tensors:
        """What the request carries as this signature's inputs; raises `InvalidInput` where it is none of them."""
        if request.read_inputs is not None:
            return request.read_inputs(self.signature)
        if request.payload is None:
            raise InvalidInput("a request carries tensors or a raw body, got neither")
        return to_tensors(request.payload) if self.answers_payloads else self.check.from_payload(request.payload)


class LoadedVersion:
    """A version that this process can run: its entry, its executor, and a lane for each signature.

    While the way it is run changes, `successor` is the executor to come, for `next_entry`.
    """

    def __init__(self, entry: VersionEntry, executor: ClosableExecutor) -> None:
        self.entry = entry
        self.executor = executor
        self.successor: ClosableExecutor | None = None
        self.next_entry = entry
        signatures = signatures_with_payload(entry.manifest)
        default = entry.manifest.default_signature
        self.default = Lane(entry, default, signatures.pop(default), executor)
        self._others = {
            name: Lane(entry, name, signature, SignatureView(executor, name)) for name, signature in signatures.items()
        }
        self.deadline_s = entry.serve.deadline_ms / 1000

    def lane(self, signature: str | None) -> Lane:
        """Where requests of that signature go, None standing for the default; raises `ModelNotFound`."""
        manifest = self.entry.manifest
        if signature is None or signature == manifest.default_signature:
            return self.default
        if signature not in self._others:
            listed = ", ".join(manifest.signatures)
            raise ModelNotFound(f"model {manifest.name!r} has no signature {signature!r}; signatures: {listed}")
        return self._others[signature]

    def _lanes(self) -> list[Lane]:
        return [self.default, *self._others.values()]

    def configure(self, batching: Batching) -> None:
        """Takes over new limits for what comes from now on."""
        for lane in self._lanes():
            lane.queue.configure(batching)

    def replace_executor(self, executor: ClosableExecutor) -> None:
        """Later batches run in `executor`; those under way end where they are."""
        self.executor = executor
        self.default.queue.replace_executor(executor)
        for name, lane in self._others.items():
            lane.queue.replace_executor(SignatureView(executor, name))

    def wake(self) -> None:
        """To be called when the executor has got slots it did not have before."""
        for lane in self._lanes():
            lane.queue.wake()

    async def drain(self) -> None:
        """Returns when nothing waits and nothing runs."""
        await asyncio.gather(*(lane.queue.drain() for lane in self._lanes()))

    async def settled(self) -> None:
        """Returns when the batches that run now have ended."""
        await asyncio.gather(*(lane.queue.settled() for lane in self._lanes()))


class Dispatcher:
    """Answers queries from the router's table with the versions loaded here."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.loaded: dict[VersionKey, LoadedVersion] = {}
        self.draining = False
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._waiting = 0

    async def answer(self, query: Query) -> Answer:
        """The answer to any query; raises errors of the hierarchy only for what the caller or the model did wrong."""
        if isinstance(query, InferenceRequest):
            return await self.infer(query)
        if isinstance(query, ModelQuery):
            return self.describe_model(query)
        if isinstance(query, ServerQuery):
            return self.describe_server()
        if isinstance(query, AllModelsQuery):
            return self.describe_all()
        if isinstance(query, StatisticsQuery):
            return self.statistics(query)
        if isinstance(query, StatusQuery):
            return self.status(query)
        raise Unsupported(f"{type(query).__name__} is answered on the management port")

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Runs a request.

        Raises `ModelNotFound`, `ModelNotReady`, `InvalidInput`, `Overloaded`, `DeadlineExceeded`, or what the runtime
        raised.
        """
        version = self.loaded.get(self._resolve(request)) if self.router.table.number else None
        if version is None:
            version = await self._until_loaded(request)
        lane = version.lane(request.signature)
        check = lane.check
        wanted = check.wanted(request.wanted_outputs)
        inputs = request.inputs
        if inputs is None:
            inputs = lane.read(request)
        rows = check.rows(inputs)
        deadline = request.deadline
        if deadline is None:
            deadline = self._loop.time() + version.deadline_s
        outputs = await lane.queue.run(inputs, rows, deadline)
        if wanted is not check.outputs:
            outputs = {name: outputs[name] for name in wanted}
        manifest = version.entry.manifest
        response = InferenceResponse(
            request.model, self.router.name_of(version.entry.key), request.id, outputs, labels=manifest.labels
        )
        if request.payload is not None and lane.answers_payloads:
            response.outputs, response.payload = None, from_tensors(outputs)
        return response

    def describe_model(self, query: ModelQuery) -> ModelDescription:
        """What the version that would answer looks like; raises `ModelNotFound` or `ModelNotReady`."""
        return self._describe(self.router.resolve(query.model, query.version, query.label))

    def describe_all(self) -> AllModels:
        """Every model of the table whose default version is loaded here."""
        keys = [(name, route.split[0][0]) for name, route in self.router.table.routes.items()]
        return AllModels(tuple(self._describe(key) for key in keys if key in self.loaded))

    def describe_server(self) -> ServerDescription:
        """Whether all models of the config can be called."""
        table = self.router.table
        routed = {name: all((name, v) in self.loaded for v, _ in route.split) for name, route in table.routes.items()}
        missing = {name: "it is loading" for name, loaded in routed.items() if not loaded} | table.unavailable
        return ServerDescription(
            ready=not self.draining and table.number > 0 and not missing,
            models=tuple(name for name, loaded in routed.items() if loaded),
            missing=missing,
        )

    def status(self, query: StatusQuery) -> ModelList:
        """How far the model's versions are here; raises `ModelNotFound`."""
        raise Unsupported("the status of models is not told yet")

    def statistics(self, query: StatisticsQuery) -> Statistics:
        """What was counted here; raises `ModelNotFound`."""
        raise Unsupported("statistics are not told yet")

    def _describe(self, key: VersionKey) -> ModelDescription:
        entry, router = self._loaded(key).entry, self.router
        model = key[0]
        return ModelDescription(
            entry.manifest, router.name_of(key), router.versions(model), entry.serve, router.labels(model)
        )

    def note_change(self) -> None:
        """To be called when there is a new table or a version was loaded: requests may wait for it."""
        self._news.set()
        self._news = asyncio.Event()

    def _resolve(self, request: InferenceRequest) -> VersionKey:
        return self.router.resolve(request.model, request.version, request.label)

    async def _until_loaded(self, request: InferenceRequest) -> LoadedVersion:
        """A gateway that has just restarted has no table or no version yet: requests wait within their deadline."""
        if self._waiting >= MAX_WAITING:
            raise Overloaded(f"{self._waiting} requests wait for models to load; try again later")
        deadline = request.deadline or self._loop.time() + UNTOLD_DEADLINE_S
        self._waiting += 1
        try:
            while True:
                if self.router.table.number:
                    key = self._resolve(request)
                    if key in self.loaded:
                        return self.loaded[key]
                await asyncio.wait_for(self._news.wait(), deadline - self._loop.time())
        except TimeoutError:
            raise DeadlineExceeded(f"model {request.model!r} did not finish loading before the deadline") from None
        finally:
            self._waiting -= 1

    def _loaded(self, key: VersionKey) -> LoadedVersion:
        version = self.loaded.get(key)
        if version is None:
            raise ModelNotReady(f"model {key[0]!r} version {key[1]} is still loading here; try again shortly")
        return version
