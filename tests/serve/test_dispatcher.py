"""From a query to its answer: which version runs, what is checked before, which outputs come back."""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec
import numpy as np
import pytest

from model_store.errors import DeadlineExceeded, InvalidInput, ModelNotFound, ModelNotReady, Overloaded
from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, JsonProcessor, Manifest, TensorSpec
from serve.dispatcher import Dispatcher
from serve.executors.inline import InlineExecutor
from serve.inference import (
    InferenceRequest,
    ModelQuery,
    Payload,
    ServerDescription,
    Statistics,
    StatisticsQuery,
    StatusQuery,
    Tensors,
)
from serve.operations import ModelList, ModelStatus, VersionStatus
from serve.payloads import answers_to_tensors, requests_of, to_tensors
from serve.router import Router
from serve.routing import BEING_LOADED, BEING_PREPARED, Batching, ModelRoute, RoutingTable, VersionEntry
from serve.runtimes.processing import ProcessingRuntime
from serve.statistics import Duration
from tests.serve.tiny_versions import FunctionRuntime, GatedExecutor, dispatcher_of, entry, manifest


class Clock(Protocol):
    async def advance(self, seconds: float) -> None: ...

    async def settle(self) -> None: ...


def request(model: str = "double", rows: int = 1, **more: object) -> InferenceRequest:
    return InferenceRequest(model, inputs={"x": np.ones((rows, 2), np.float32)}, **more)  # type: ignore[arg-type]


async def test_a_request_is_answered_by_the_routed_version() -> None:
    response = await dispatcher_of(entry(version=3)).infer(request(rows=2, id="a1"))
    assert (response.model, response.version, response.id) == ("double", "3", "a1")
    assert response.outputs is not None
    assert response.outputs["y"].tolist() == [[2, 2], [2, 2]]


async def test_a_raw_body_is_one_row() -> None:
    body = Payload(np.array([1, 2], np.float32).tobytes(), "application/octet-stream")
    response = await dispatcher_of(entry()).infer(InferenceRequest("double", payload=body))
    assert response.outputs is not None
    assert response.outputs["y"].tolist() == [[2, 4]]


async def ask(dispatcher: Dispatcher, body: bytes) -> Payload:
    payload = Payload(body, "application/json")
    response = await dispatcher.infer(InferenceRequest("double", signature=PAYLOAD, payload=payload))
    assert response.outputs is None
    assert response.payload is not None
    return response.payload


def with_processor(version: Manifest, runtime: FunctionRuntime) -> InlineExecutor:
    return InlineExecutor(ProcessingRuntime(runtime, version, threads=1), on_loop=True)


async def test_a_body_for_the_processor_is_answered_by_a_body() -> None:
    dispatcher = dispatcher_of(entry(), executor=with_processor(manifest(), FunctionRuntime()))
    assert await ask(dispatcher, b"[1, 2]") == Payload(b"[2.0,4.0]", "application/json")
    with pytest.raises(InvalidInput, match=r"expected JSON, got '\[1, 2' \(Input data was truncated\)$"):
        await ask(dispatcher, b"[1, 2")


@pytest.mark.parametrize(("row_independent", "batches"), [(True, [[1], [3]]), (False, [[1], [1], [1], [1]])])
async def test_bodies_that_wait_share_a_batch_where_rows_are_independent(
    row_independent: bool, batches: list[list[int]]
) -> None:
    runtime = FunctionRuntime()
    described = entry(row_independent=row_independent)
    dispatcher = dispatcher_of(described, executor=with_processor(described.manifest, runtime))
    first = asyncio.ensure_future(ask(dispatcher, b"[0, 0]"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answers = await asyncio.gather(*(ask(dispatcher, b"[%d, 1]" % number) for number in range(3)))
    await first
    assert [answer.body for answer in answers] == [b"[0.0,2.0]", b"[2.0,2.0]", b"[4.0,2.0]"]
    assert [[rows] for rows in runtime.batches] == batches


@pytest.mark.parametrize("column", ["fields", "headers"])
async def test_a_row_that_is_no_body_is_refused_alone(column: str) -> None:
    dispatcher = dispatcher_of(entry(), executor=with_processor(manifest(), FunctionRuntime()))
    row = to_tensors(Payload(b"[5, 5]", "application/json"))
    row[column] = np.array([b"[]"], object)
    first = asyncio.ensure_future(ask(dispatcher, b"[0, 0]"))
    await asyncio.sleep(0)
    good, bad = await asyncio.gather(
        ask(dispatcher, b"[1, 1]"),
        dispatcher.infer(InferenceRequest("double", signature=PAYLOAD, inputs=row)),
        return_exceptions=True,
    )
    await first
    assert good == Payload(b"[2.0,2.0]", "application/json")
    assert isinstance(bad, InvalidInput)
    assert bad.message.startswith(f"{column}: expected a JSON object")


async def test_a_raw_tensor_goes_past_the_processor() -> None:
    version = msgspec.structs.replace(
        manifest(),
        processor=JsonProcessor(),
        signatures={**manifest().signatures, PAYLOAD: PAYLOAD_SIGNATURE},
    )
    described = msgspec.structs.replace(entry(), manifest=version)
    dispatcher = dispatcher_of(described, executor=with_processor(version, FunctionRuntime()))
    raw = Payload(np.array([1, 2], np.float32).tobytes(), "application/octet-stream")
    response = await dispatcher.infer(InferenceRequest("double", payload=raw))
    assert response.payload is None
    assert response.outputs is not None
    assert response.outputs["y"].tolist() == [[2, 4]]


async def test_a_handler_is_the_default_signature_and_gets_bodies_only() -> None:
    version = msgspec.structs.replace(
        manifest(), runtime="handler", signatures={PAYLOAD: PAYLOAD_SIGNATURE}, default_signature=PAYLOAD
    )

    def handle(inputs: Tensors) -> Tensors:
        return answers_to_tensors([Payload(each.body[::-1], "text/plain") for each in requests_of(inputs)])

    described = msgspec.structs.replace(entry(), manifest=version)
    dispatcher = dispatcher_of(described, executor=InlineExecutor(FunctionRuntime(handle), on_loop=False))
    assert await ask(dispatcher, b"abc") == Payload(b"cba", "text/plain")
    with pytest.raises(InvalidInput):
        await dispatcher.infer(request())


async def test_a_request_with_neither_tensors_nor_a_body_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^a request carries tensors or a raw body, got neither$"):
        await dispatcher_of(entry()).infer(InferenceRequest("double"))


async def test_wanted_outputs_come_in_the_wanted_order() -> None:
    def three(inputs: Tensors) -> Tensors:
        return dict.fromkeys(("a", "b", "c"), inputs["x"])

    described = entry(outputs=tuple(TensorSpec(name, "FP32", (-1, 2)) for name in ("a", "b", "c")))
    dispatcher = dispatcher_of(described, executor=InlineExecutor(FunctionRuntime(three), on_loop=True))
    for wanted, expected in (((), ["a", "b", "c"]), (("c", "a"), ["c", "a"])):
        response = await dispatcher.infer(request(wanted_outputs=wanted))
        assert response.outputs is not None
        assert list(response.outputs) == expected


async def test_what_is_wrong_is_refused_before_it_is_queued() -> None:
    executor = GatedExecutor()
    dispatcher = dispatcher_of(entry(), executor=executor)
    for wrong, kind in (
        (request("nobody"), ModelNotFound),
        (request(version="2"), ModelNotFound),
        (request(label="beta"), ModelNotFound),
        (request(signature="other"), ModelNotFound),
        (request(wanted_outputs=("q",)), InvalidInput),
        (InferenceRequest("double", inputs={"z": np.ones((1, 2), np.float32)}), InvalidInput),
    ):
        with pytest.raises(kind):
            await dispatcher.infer(wrong)
    assert executor.started == 0


async def test_the_model_s_deadline_holds_for_requests_without_one(clock: Clock) -> None:
    dispatcher = dispatcher_of(entry(deadline_ms=2000), executor=GatedExecutor())
    own, hurried = asyncio.ensure_future(dispatcher.infer(request())), request(deadline=1001.0)
    late = asyncio.ensure_future(dispatcher.infer(hurried))
    await clock.advance(1.001)
    assert (own.done(), late.done()) == (False, True)
    await clock.advance(1.0)
    for each in (own, late):
        with pytest.raises(DeadlineExceeded):
            each.result()


async def test_only_row_independent_versions_with_a_batch_dimension_are_merged(clock: Clock) -> None:
    fixed = TensorSpec("y", "FP32", (2,))
    for described, merged in (
        (entry(), True),
        (entry(row_independent=False), False),
        (entry(outputs=(fixed,)), False),
    ):
        runtime = FunctionRuntime()
        dispatcher = dispatcher_of(described, executor=InlineExecutor(runtime, on_loop=True))
        requests = [asyncio.ensure_future(dispatcher.infer(request())) for _ in range(2)]
        await clock.settle()
        assert all(each.done() for each in requests)
        assert runtime.batches == ([2] if merged else [1, 1])


async def test_a_request_waits_for_a_version_that_is_still_loading_here(clock: Clock) -> None:
    dispatcher = dispatcher_of(entry())
    version = dispatcher.loaded.pop(("double", 1))
    waiting = asyncio.ensure_future(dispatcher.infer(request()))
    await clock.advance(5)
    assert not waiting.done()
    dispatcher.loaded[("double", 1)] = version
    dispatcher.note_change()
    await clock.settle()
    assert waiting.result().version == "1"


NOT_LOADED = r"^model 'double' did not finish loading before the deadline$"


async def test_a_version_that_does_not_finish_loading_by_the_deadline_is_too_late(clock: Clock) -> None:
    dispatcher = dispatcher_of(entry())
    dispatcher.loaded.clear()
    waiting = asyncio.ensure_future(dispatcher.infer(request(deadline=1001.0)))
    await clock.advance(0.999)
    assert not waiting.done()
    await clock.advance(0.002)
    with pytest.raises(DeadlineExceeded, match=NOT_LOADED):
        waiting.result()


async def test_without_a_deadline_a_request_waits_half_a_minute_for_its_version(clock: Clock) -> None:
    dispatcher = Dispatcher(Router())
    waiting = asyncio.ensure_future(dispatcher.infer(request()))
    await clock.advance(29.9)
    assert not waiting.done()
    await clock.advance(0.2)
    with pytest.raises(DeadlineExceeded, match=NOT_LOADED):
        waiting.result()


async def test_before_the_first_table_a_request_waits_for_table_and_version(clock: Clock) -> None:
    held = dispatcher_of(entry())
    dispatcher = Dispatcher(Router())
    waiting = asyncio.ensure_future(dispatcher.infer(request()))
    await clock.advance(5)
    dispatcher.router.update(held.router.table)
    dispatcher.note_change()
    await clock.advance(5)
    assert not waiting.done()
    dispatcher.loaded |= held.loaded
    dispatcher.note_change()
    await clock.settle()
    assert waiting.result().version == "1"


async def test_the_first_table_ends_the_waiting_for_what_it_does_not_have(clock: Clock) -> None:
    dispatcher = Dispatcher(Router())
    unknown = asyncio.ensure_future(dispatcher.infer(request("nobody")))
    unavailable = asyncio.ensure_future(dispatcher.infer(request("loading")))
    await clock.advance(5)
    assert (unknown.done(), unavailable.done()) == (False, False)
    dispatcher.router.update(RoutingTable(1, "./store", (entry(),), unavailable={"loading": "it is loading"}))
    dispatcher.note_change()
    await clock.settle()
    with pytest.raises(ModelNotFound):
        unknown.result()
    with pytest.raises(ModelNotReady, match=r"^model 'loading' can't be called now: it is loading$"):
        unavailable.result()


async def test_a_request_that_waits_follows_the_newest_route(clock: Clock) -> None:
    both = dispatcher_of(entry(version=1), entry(version=2))
    dispatcher = Dispatcher(Router(RoutingTable(1, "./store", (entry(),), {"double": ModelRoute(((1, 100),))})))
    waiting = asyncio.ensure_future(dispatcher.infer(request()))
    await clock.settle()
    dispatcher.router.update(both.router.table)
    dispatcher.loaded[("double", 2)] = both.loaded[("double", 2)]
    dispatcher.note_change()
    await clock.settle()
    assert waiting.result().version == "2"


async def test_more_requests_than_may_wait_are_refused_as_overload(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.dispatcher.MAX_WAITING", 2)
    dispatcher = Dispatcher(Router())
    waiting = [asyncio.ensure_future(dispatcher.infer(request())) for _ in range(2)]
    await clock.settle()
    with pytest.raises(Overloaded, match=r"^2 requests wait for models to load; try again later$"):
        await dispatcher.infer(request())
    waiting.pop().cancel()
    await clock.settle()
    waiting.append(asyncio.ensure_future(dispatcher.infer(request(deadline=1001.0))))
    await clock.advance(1.001)
    with pytest.raises(DeadlineExceeded):
        waiting[1].result()
    held = dispatcher_of(entry())
    dispatcher.router.update(held.router.table)
    dispatcher.loaded |= held.loaded
    dispatcher.note_change()
    await clock.settle()
    assert waiting[0].result().version == "1"


async def test_a_model_is_described_by_the_version_that_would_answer() -> None:
    dispatcher = dispatcher_of(entry(version=3))
    described = dispatcher.describe_model(ModelQuery("double"))
    assert (described.manifest.version, described.versions) == (3, ("3",))
    with pytest.raises(ModelNotFound):
        dispatcher.describe_model(ModelQuery("double", "4"))
    dispatcher.loaded.clear()
    with pytest.raises(ModelNotReady, match=r"^model 'double' version 3 is still loading here; try again shortly$"):
        dispatcher.describe_model(ModelQuery("double"))


async def test_the_server_is_ready_when_every_model_of_the_config_can_be_called() -> None:
    assert dispatcher_of(entry()).describe_server() == ServerDescription(ready=True, models=("double",))
    assert dispatcher_of().describe_server().ready is True
    unavailable = dispatcher_of(entry(), unavailable={"resnet": "it is loading"}).describe_server()
    assert unavailable == ServerDescription(ready=False, models=("double",), missing={"resnet": "it is loading"})
    unloaded = dispatcher_of(entry())
    unloaded.loaded.clear()
    assert unloaded.describe_server() == ServerDescription(ready=False, missing={"double": "it is loading"})
    draining = dispatcher_of(entry())
    draining.draining = True
    assert draining.describe_server().ready is False


async def test_a_server_without_a_table_lives_and_is_not_ready() -> None:
    dispatcher = Dispatcher(Router(RoutingTable(0, "")))
    assert dispatcher.describe_server() == ServerDescription(ready=False, live=True)


@pytest.mark.parametrize(("executor", "batch"), [("inline", 4), ("replicas", 3)])
async def test_batches_are_filled_up_where_they_run(executor: str, batch: int) -> None:
    runtime = FunctionRuntime()
    described = entry(executor=executor, batching=Batching(preferred=(4,)))
    response = await dispatcher_of(described, executor=InlineExecutor(runtime, on_loop=True)).infer(request(rows=3))
    assert response.outputs is not None
    assert response.outputs["y"].tolist() == [[2, 2]] * 3
    assert runtime.batches == [batch]


async def test_bodies_are_not_filled_up() -> None:
    described = entry(batching=Batching(preferred=(4,)))
    version = msgspec.structs.replace(
        described.manifest, runtime="handler", signatures={PAYLOAD: PAYLOAD_SIGNATURE}, default_signature=PAYLOAD
    )
    runtime = FunctionRuntime(lambda inputs: answers_to_tensors([Payload(b"", "text/plain")] * len(inputs["body"])))
    described = msgspec.structs.replace(described, manifest=version)
    await ask(dispatcher_of(described, executor=InlineExecutor(runtime, on_loop=True)), b"abc")
    assert runtime.batches == [1]


# -- how far versions are --------------------------------------------------------------------------------------------


def states(dispatcher: Dispatcher, **query: str) -> list[tuple[str, str, str | None]]:
    (model,) = dispatcher.status(StatusQuery("double", **query)).models
    assert model.model == "double"
    return [(each.version, each.state, each.reason) for each in model.versions]


async def test_a_version_that_is_loaded_is_ready() -> None:
    dispatcher = dispatcher_of(entry(version=3))
    answer = await dispatcher.answer(StatusQuery("double"))
    assert answer == ModelList((ModelStatus("double", (VersionStatus(version="3", state="READY", default=True),)),))


async def test_a_version_of_the_table_is_loading_or_has_failed_until_it_is_loaded() -> None:
    dispatcher = dispatcher_of(entry())
    version = dispatcher.loaded.pop(("double", 1))
    assert states(dispatcher) == [("1", "LOADING", None)]
    dispatcher.states[("double", 1)] = "StoreError: the store is away"
    assert states(dispatcher) == [("1", "FAILED", "the store is away")]
    dispatcher.loaded[("double", 1)] = version
    dispatcher.states[("double", 1)] = "loading"
    assert states(dispatcher) == [("1", "READY", None)]


async def test_a_version_that_left_the_table_drains_as_long_as_it_is_loaded() -> None:
    dispatcher = dispatcher_of(entry(version=1), entry(version=2))
    dispatcher.router.update(RoutingTable(2, "./store", (entry(version=2),), {"double": ModelRoute(((2, 100),))}))
    assert states(dispatcher) == [("1", "DRAINING", None), ("2", "READY", None)]


async def test_labels_aliases_and_the_default_are_told() -> None:
    dispatcher = dispatcher_of(entry(version=1), entry(version=2))
    route = ModelRoute(((2, 90), (1, 10)), labels={"stable": 2, "newest": 2, "old": 1}, aliases={"1.0": 2})
    dispatcher.router.update(RoutingTable(2, "./store", (entry(version=1), entry(version=2)), {"double": route}))
    (model,) = dispatcher.status(StatusQuery("double")).models
    assert model.versions == (
        VersionStatus(version="1", state="READY", labels=("old",)),
        VersionStatus(version="1.0", state="READY", labels=("stable", "newest"), default=True),
    )
    assert states(dispatcher, version="1.0") == [("1.0", "READY", None)]
    assert states(dispatcher, version="2") == [("1.0", "READY", None)]
    assert states(dispatcher, label="old") == [("1", "READY", None)]
    for unknown in ({"version": "3"}, {"label": "beta"}):
        with pytest.raises(ModelNotFound):
            dispatcher.status(StatusQuery("double", **unknown))


@pytest.mark.parametrize(
    ("reason", "state"),
    [(BEING_LOADED, "LOADING"), (BEING_PREPARED, "LOADING"), ("no translation for 1 of its operators", "FAILED")],
)
async def test_a_model_without_a_version_says_why(reason: str, state: str) -> None:
    dispatcher = dispatcher_of(unavailable={"double": reason})
    assert states(dispatcher) == [("", state, reason)]


async def test_the_status_of_a_model_that_nobody_knows_is_not_found() -> None:
    with pytest.raises(ModelNotFound, match=r"^model 'double' is not served here$"):
        dispatcher_of().status(StatusQuery("double"))
    with pytest.raises(ModelNotReady):
        Dispatcher(Router()).status(StatusQuery("double"))


# -- what is counted -------------------------------------------------------------------------------------------------


async def test_requests_are_counted_as_they_end(clock: Clock) -> None:
    executor = GatedExecutor()
    dispatcher = dispatcher_of(entry(version=4), executor=executor)
    answered, gone = (asyncio.ensure_future(dispatcher.infer(request(rows=rows))) for rows in (2, 3))
    late = asyncio.ensure_future(dispatcher.infer(request(deadline=1001.0)))
    await clock.advance(2)
    gone.cancel()
    await clock.settle()
    executor.gate.set()
    await clock.settle()
    assert answered.done()
    assert late.done()
    with pytest.raises(InvalidInput):
        await dispatcher.infer(request(wanted_outputs=("q",)))
    answer = await dispatcher.answer(StatisticsQuery())
    assert isinstance(answer, Statistics)
    (counted,) = answer.versions
    assert (counted.model, counted.version, counted.last_inference_ms > 10**12) == ("double", "4", True)
    assert counted.success == Duration(1, 2 * 10**9)
    assert counted.cancelled == Duration(1, 2 * 10**9)
    assert counted.fail == Duration(2, 2 * 10**9)
    assert (counted.queue.count, counted.queue.ns) == (3, 0)
    assert counted.compute == {6: Duration(1, 2 * 10**9)}
    assert counted.rows == 6


async def test_a_refusal_in_a_body_counts_as_failed() -> None:
    dispatcher = dispatcher_of(entry(), executor=with_processor(manifest(), FunctionRuntime()))
    with pytest.raises(InvalidInput):
        await ask(dispatcher, b"[1, 2")
    (counted,) = dispatcher.statistics(StatisticsQuery()).versions
    assert (counted.success.count, counted.fail.count) == (0, 1)


async def test_statistics_are_of_all_models_of_one_or_of_one_version() -> None:
    dispatcher = dispatcher_of(entry(version=1), entry(version=2), entry("other"))
    route = ModelRoute(((2, 100),), aliases={"v2": 2})
    table = dispatcher.router.table
    dispatcher.router.update(msgspec.structs.replace(table, number=2, routes={**table.routes, "double": route}))

    def names(**query: str) -> list[tuple[str, str]]:
        return [(each.model, each.version) for each in dispatcher.statistics(StatisticsQuery(**query)).versions]

    assert names() == [("double", "1"), ("double", "v2"), ("other", "1")]
    assert names(model="double") == [("double", "1"), ("double", "v2")]
    assert names(model="double", version="v2") == [("double", "v2")]
    for unknown in ({"model": "nobody"}, {"model": "double", "version": "3"}):
        with pytest.raises(ModelNotFound):
            names(**unknown)


# -- a request without a model's name --------------------------------------------------------------------------------


async def test_a_request_without_a_name_goes_to_the_only_model() -> None:
    response = await dispatcher_of(entry(version=3)).infer(request(""))
    assert (response.model, response.version) == ("double", "3")


@pytest.mark.parametrize("entries", [(), (entry(), entry("other"))])
async def test_a_request_without_a_name_is_refused_where_there_is_not_one_model(
    entries: tuple[VersionEntry, ...],
) -> None:
    with pytest.raises(InvalidInput, match=r"^Parameter model_name is required\.$"):
        await dispatcher_of(*entries).infer(request(""))
