"""The one dispatcher under all dialects: a query in, an answer out.

A request's way here: router -> signature check -> the version's batch queue -> its executor. The dispatcher owns the
versions that this process holds loaded; `serve/loading.py` brings them in and takes them out.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable

from model_store.errors import DeadlineExceeded, ModelNotReady, Overloaded, Unsupported
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
)
from serve.lanes import LoadedVersion
from serve.operations import ModelList, ModelStatus
from serve.payloads import from_tensors
from serve.rollouts.observing import Observer
from serve.router import Router
from serve.routing import VersionKey
from serve.statistics import VersionStatistics
from serve.version_states import statuses_of

UNTOLD_DEADLINE_S = 30.0
"""For requests that name no deadline, while the model's own limit is not known here yet."""

MAX_WAITING = 1024
"""Requests that may wait for a version to load, over all models."""

LOADING_RETRY_S = 1.0


class Dispatcher:
    """Answers queries from the router's table with the versions loaded here."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.loaded: dict[VersionKey, LoadedVersion] = {}
        self.counted: dict[VersionKey, VersionStatistics] = {}
        """Of all versions that were loaded since this process started, but for those that were forgotten."""
        self._lives = itertools.count(1)
        self.states: dict[VersionKey, str] = {}
        """How far the versions of the table are, as `serve/loading.py` tells."""
        self.observer = Observer(router, self.loaded)
        self.draining = False
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._waiting = 0

    def statistics_of(self, key: VersionKey) -> VersionStatistics:
        """What is counted of a version that is being loaded; it goes on where it was loaded before."""
        statistics = self.counted.get(key)
        if statistics is None:
            statistics = self.counted[key] = VersionStatistics(key[0], str(key[1]), life=next(self._lives))
        return statistics

    @property
    def running(self) -> set[VersionKey]:
        """The versions that are loaded and can run."""
        return {key for key, version in self.loaded.items() if version.trouble is None}

    def answer(self, query: Query) -> Awaitable[Answer]:
        """The answer to any query; raises errors of the hierarchy only for what the caller or the model did wrong."""
        return self.infer(query) if isinstance(query, InferenceRequest) else self._tell(query)

    async def _tell(self, query: Query) -> Answer:
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
        now = self._loop.time()
        router = self.router
        record = request.record
        # The clock of uvloop's loops has whole milliseconds.
        begin_ns = record.decoded_ns if record is not None else time.perf_counter_ns()
        try:
            key = (
                router.resolve(request.model, request.version, request.label, request) if router.table.number else None
            )
            version = self.loaded.get(key) if key is not None else None
            if version is None:
                version = await self._until_loaded(request, now)
        except Exception:
            if record is not None and router.knows(request.model):
                record.model = request.model
            raise
        statistics = version.statistics
        if record is not None:
            record.statistics = statistics
            statistics.begun += 1
        if version.trouble is not None:
            raise ModelNotReady(version.trouble)
        try:
            lane = version.lane(request.signature)
            wanted = lane.check.wanted(request.wanted_outputs) if request.wanted_outputs else None
            inputs = request.inputs
            if inputs is None:
                inputs = lane.read(request)
            rows = lane.check.rows(inputs)
            deadline = request.deadline
            if deadline is None:
                deadline = now + version.deadline_s
            if version.cache is None:
                outputs = await lane.queue.run(inputs, rows, deadline, request.priority, record)
            else:
                outputs = await version.infer_cached(lane, inputs, rows, deadline, request.priority, record)
            response = InferenceResponse(
                version.name,
                router.name_of(version.key),
                request.id,
                outputs if wanted is None else {name: outputs[name] for name in wanted},
                labels=version.labels,
                batched=lane.check.batched,
            )
            if request.payload is not None and lane.answers_payloads:
                # Raises the refusal that a body's row may carry.
                response.outputs, response.payload = None, from_tensors(outputs)
        except asyncio.CancelledError:
            if record is None:
                statistics.cancelled.add(time.perf_counter_ns() - begin_ns)
            raise
        except Exception as error:
            if record is None:
                statistics.unrecorded_fail.add(time.perf_counter_ns() - begin_ns)
            if version.name in router.watched:
                self.observer.note_failure(request, version.key, error)
            raise
        if record is None:
            # Whoever records the request counts it when its answer is encoded.
            statistics.unrecorded_success.add(time.perf_counter_ns() - begin_ns)
        if router.watched and version.name in router.watched:
            ns = time.perf_counter_ns() - begin_ns
            # In the loop's next turn: by then the front door has written the answer.
            self._loop.call_soon(self.observer.note_answer, request, response, version.key, inputs, outputs, ns)
        return response

    def describe_model(self, query: ModelQuery) -> ModelDescription:
        """What the version that would answer looks like; raises `ModelNotFound` or `ModelNotReady`."""
        return self._describe(self.router.resolve(query.model, query.version, query.label))

    def describe_all(self) -> AllModels:
        """Every model of the table whose default version is loaded here."""
        keys = [(name, route.split[0][0]) for name, route in self.router.table.routes.items()]
        return AllModels(tuple(self._describe(key) for key in keys if key in self.running))

    def describe_server(self) -> ServerDescription:
        """Whether all models of the config can be called."""
        table = self.router.table
        routed = {name: all((name, v) in self.loaded for v, _ in route.split) for name, route in table.routes.items()}
        missing = {name: "it is loading" for name, loaded in routed.items() if not loaded} | table.unavailable
        missing |= {key[0]: version.trouble for key, version in self.loaded.items() if version.trouble is not None}
        return ServerDescription(
            ready=not self.draining and table.number > 0 and not missing,
            models=tuple(name for name, loaded in routed.items() if loaded and name not in missing),
            missing=missing,
        )

    def status(self, query: StatusQuery) -> ModelList:
        """How far the model's versions are here; raises `ModelNotFound`, and `ModelNotReady` before the first table."""
        versions = statuses_of(query, self.router, self.running, self.states)
        return ModelList((ModelStatus(query.model, versions),))

    def statistics(self, query: StatisticsQuery) -> Statistics:
        """What was counted of the versions that are loaded here, by name and number.

        Raises `ModelNotFound`, and `ModelNotReady` for a model that has no version to call.
        """
        keys = sorted(self.loaded)
        if query.model is not None and query.version is not None:
            keys = [self._loaded(self.router.resolve(query.model, query.version)).key]
        elif query.model is not None:
            known = self.router.versions(query.model)
            keys = [key for key in keys if key[0] == query.model and self.router.name_of(key) in known]
        counted = [self.loaded[key].statistics for key in keys]
        for each, key in zip(counted, keys, strict=True):
            each.version = self.router.name_of(key)
        return Statistics(tuple(counted))

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

    async def _until_loaded(self, request: InferenceRequest, now: float) -> LoadedVersion:
        """A gateway that has just restarted has no table or no version yet: requests wait within their deadline."""
        if self._waiting >= MAX_WAITING:
            raise Overloaded(
                f"{self._waiting} requests wait for models to load; try again later", retry_after_s=LOADING_RETRY_S
            )
        deadline = request.deadline or now + UNTOLD_DEADLINE_S
        self._waiting += 1
        try:
            while True:
                if self.router.table.number:
                    key = self.router.resolve(request.model, request.version, request.label, request)
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
        if version.trouble is not None:
            raise ModelNotReady(version.trouble)
        return version
