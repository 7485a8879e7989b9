"""Requests over real sockets whose traces a real collector gets: what spans there are, and how they hang together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from model_store.errors import InternalError
from serve.dispatcher import Dispatcher
from serve.executors.inline import InlineExecutor
from serve.executors.upstream import UpstreamExecutor
from serve.inference import Tensors
from serve.routing import Batching
from tests.serve.replica_fleet import Fleet
from tests.serve.tiny_versions import FunctionRuntime, GatedExecutor, dispatcher_of, entry
from tests.serve.tracing.collector import attributes, collecting
from tests.serve.tracing.traced import INFER, ask, body, endpoint, message, settings_for
from tests.serve.upstreams.servers import Upstream, version_of
from tests.serve.waiting import eventually

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"


def ids(span: Span) -> tuple[str, str, str]:
    """Trace, span, parent."""
    return span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()


def lasts_within(inner: Span, outer: Span) -> bool:
    return (
        outer.start_time_unix_nano <= inner.start_time_unix_nano <= inner.end_time_unix_nano <= outer.end_time_unix_nano
    )


async def test_a_request_of_a_sampled_caller_is_a_span_with_its_stages(free_port: int) -> None:
    with collecting() as collector:
        async with endpoint(dispatcher_of(entry(version=3)), free_port, settings_for(collector.url)) as at:
            status, headers = await ask(at, traceparent=PARENT, tracestate="vendor=1", x_request_id="order-7")
        assert status == 200
        server = collector.one("infer double")
        assert ids(server)[0] == TRACE
        assert ids(server)[2] == CALLER
        assert server.trace_state == "vendor=1"
        assert server.kind == Span.SPAN_KIND_SERVER
        assert attributes(server) == {
            "onegate.dialect": "open_inference",
            "onegate.request_id": "order-7",
            "onegate.kept": "sampled",
            "onegate.model": "double",
            "onegate.version": "3",
            "http.request.method": "POST",
            "url.path": INFER,
            "http.response.status_code": 200,
        }
        assert headers["x-request-id"] == "order-7"
        assert headers["traceresponse"] == f"00-{TRACE}-{ids(server)[1]}-01"
        stages = [collector.one(name) for name in ("decode", "queue", "batch", "encode")]
        assert {span.parent_span_id for span in stages} == {server.span_id}
        assert {span.trace_id for span in collector.spans} == {server.trace_id}
        assert all(lasts_within(stage, server) for stage in stages)
        starts = [stage.start_time_unix_nano for stage in stages]
        assert starts == sorted(starts)
        run = collector.one("run")
        assert run.parent_span_id == collector.one("batch").span_id
        assert lasts_within(run, collector.one("batch"))
        assert len(collector.spans) == 6
        assert collector.resources[0]["service.name"] == "onegate"


async def test_requests_of_one_batch_share_its_span_by_links(free_port: int) -> None:
    executor = GatedExecutor(slots=1)
    dispatcher = dispatcher_of(entry(batching=Batching(max_batch_size=8)), executor=executor)
    with collecting() as collector:
        async with endpoint(dispatcher, free_port, settings_for(collector.url, sample=1.0)) as at:
            first = asyncio.ensure_future(ask(at))
            await eventually(lambda: executor.started == 1)
            together = [asyncio.ensure_future(ask(at, data=body(rows))) for rows in (1, 2)]
            queue = dispatcher.loaded[("double", 1)].default.queue
            await eventually(lambda: queue.waiting_rows == 3)
            executor.gate.set()
            await asyncio.gather(first, *together)
        (batch,) = [span for span in collector.named("batch") if attributes(span)["onegate.batch.rows"] == 3]
        assert attributes(batch)["onegate.batch.requests"] == 2
        servers = {span.trace_id: span for span in collector.named("infer double")}
        owner = servers[batch.trace_id]
        assert batch.parent_span_id == owner.span_id
        (link,) = batch.links
        other = servers[link.trace_id]
        assert link.span_id == other.span_id
        (queue_of_other,) = [span for span in collector.named("queue") if span.trace_id == other.trace_id]
        assert [(each.trace_id, each.span_id) for each in queue_of_other.links] == [(batch.trace_id, batch.span_id)]
        assert len(collector.named("batch")) == 2
        assert len(servers) == 3


async def test_requests_of_one_trace_that_share_a_batch_link_to_it_too(free_port: int) -> None:
    executor = GatedExecutor(slots=1)
    dispatcher = dispatcher_of(entry(), executor=executor)
    with collecting() as collector:
        async with endpoint(dispatcher, free_port, settings_for(collector.url)) as at:
            first = asyncio.ensure_future(ask(at))
            await eventually(lambda: executor.started == 1)
            together = [asyncio.ensure_future(ask(at, traceparent=PARENT)) for _ in range(2)]
            queue = dispatcher.loaded[("double", 1)].default.queue
            await eventually(lambda: queue.waiting_rows == 2)
            executor.gate.set()
            await asyncio.gather(first, *together)
        batch = next(span for span in collector.named("batch") if span.trace_id.hex() == TRACE)
        servers = {span.span_id for span in collector.named("infer double") if span.trace_id.hex() == TRACE}
        assert len(servers) == 2
        assert {batch.parent_span_id, *(link.span_id for link in batch.links)} == servers
        queues = [span for span in collector.named("queue") if span.trace_id.hex() == TRACE]
        assert sorted([link.span_id for link in span.links] for span in queues) == [[], [batch.span_id]]


async def test_over_grpc_the_context_comes_in_metadata_and_the_answer_names_it(free_port: int) -> None:
    with collecting() as collector:
        async with (
            endpoint(dispatcher_of(entry()), free_port, settings_for(collector.url)) as at,
            grpc.aio.insecure_channel(at.grpc) as channel,
        ):
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(
                message(), metadata=(("traceparent", PARENT), ("x-request-id", "order-8"))
            )
            await call
            told = dict(await call.trailing_metadata())
        server = collector.one("infer double")
        assert ids(server)[0] == TRACE
        assert ids(server)[2] == CALLER
        assert told == {"x-request-id": "order-8", "traceresponse": f"00-{TRACE}-{ids(server)[1]}-01"}
        assert attributes(server) == {
            "onegate.dialect": "open_inference_grpc",
            "onegate.request_id": "order-8",
            "onegate.kept": "sampled",
            "onegate.model": "double",
            "onegate.version": "1",
            "rpc.system.name": "grpc",
            "rpc.method": "inference.GRPCInferenceService/ModelInfer",
            "rpc.response.status_code": "OK",
        }


def failing(inputs: Tensors) -> Tensors:
    raise InternalError("the model is broken")


async def test_at_sample_0_what_fails_is_kept_and_the_slowest_of_what_does_not(free_port: int) -> None:
    broken = InlineExecutor(FunctionRuntime(failing), on_loop=True)
    dispatcher = dispatcher_of(entry(), entry("broken"))
    dispatcher.loaded[("broken", 1)].replace_executor(broken)
    with collecting() as collector:
        async with endpoint(dispatcher, free_port, settings_for(collector.url)) as at:
            for _ in range(20):
                assert (await ask(at))[0] == 200
            assert (await ask(at, "/v2/models/broken/infer"))[0] == 500
            assert (await ask(at, "/v2/models/nobody/infer"))[0] == 404
            assert (await ask(at, data=b"{"))[0] == 400
        kept = [attributes(span) for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
        assert sorted((each["onegate.kept"], each["http.response.status_code"]) for each in kept) == [
            ("failed", 400), ("failed", 404), ("failed", 500), ("slow", 200),
        ]  # fmt: skip
        (error,) = [span for span in collector.spans if span.status.code == Status.STATUS_CODE_ERROR]
        assert error.name == "infer broken"
        assert attributes(error)["error.type"] == "InternalError"


async def test_with_slow_ms_all_that_take_as_long_are_kept(free_port: int) -> None:
    executor = GatedExecutor()
    dispatcher = dispatcher_of(entry(), entry("gated"))
    dispatcher.loaded[("gated", 1)].replace_executor(executor)
    with collecting() as collector:
        async with endpoint(dispatcher, free_port, settings_for(collector.url, slow_ms=300)) as at:
            slow = [asyncio.ensure_future(ask(at, "/v2/models/gated/infer")) for _ in range(2)]
            await ask(at)
            await asyncio.sleep(0.35)
            executor.gate.set()
            await asyncio.gather(*slow)
        servers = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
        assert [span.name for span in servers] == ["infer gated"] * 2
        assert {attributes(span)["onegate.kept"] for span in servers} == {"slow"}


async def test_a_caller_that_does_not_sample_is_respected(free_port: int) -> None:
    with collecting() as collector:
        async with endpoint(
            dispatcher_of(entry()), free_port, settings_for(collector.url, sample=1.0, slow_ms=60_000)
        ) as at:
            await ask(at, traceparent=PARENT[:-2] + "00")
        assert collector.spans == []


async def test_a_batch_on_a_replica_has_a_hop_with_the_replicas_run_in_it(free_port: int) -> None:
    fleet = Fleet()
    dispatcher = dispatcher_of(entry(executor="replicas"), executor=fleet.executor)
    replica = await fleet.serve("a", InlineExecutor(FunctionRuntime(), on_loop=False))
    try:
        await fleet.know(replica)
        with collecting() as collector:
            async with endpoint(dispatcher, free_port, settings_for(collector.url)) as at:
                assert (await ask(at, traceparent=PARENT))[0] == 200
            hop, run, batch = collector.one("hop"), collector.one("run"), collector.one("batch")
            assert hop.kind == Span.SPAN_KIND_CLIENT
            assert attributes(hop) == {"onegate.server": "a"}
            assert hop.parent_span_id == batch.span_id
            assert run.parent_span_id == hop.span_id
            assert lasts_within(run, hop)
            assert lasts_within(hop, batch)
            assert len(collector.spans) == 7
    finally:
        await replica.stop()
        await fleet.executor.close()


async def test_a_replica_that_is_lost_is_a_hop_that_failed_before_the_one_that_answered(free_port: int) -> None:
    fleet = Fleet()
    gated = GatedExecutor()
    dispatcher = dispatcher_of(entry(executor="replicas"), executor=fleet.executor)
    lost = await fleet.serve("lost", gated)
    try:
        await fleet.know(lost)
        with collecting() as collector:
            async with endpoint(dispatcher, free_port, settings_for(collector.url)) as at:
                asking = asyncio.ensure_future(ask(at, traceparent=PARENT))
                await eventually(lambda: gated.started == 1)
                other = await fleet.serve("other")
                await fleet.know(lost, other)
                await lost.stop()
                assert (await asking)[0] == 200
            first, second = sorted(collector.named("hop"), key=lambda span: span.start_time_unix_nano)
            assert attributes(first) == {"onegate.server": "lost", "error.type": "ServerGone"}
            assert first.status.code == Status.STATUS_CODE_ERROR
            assert attributes(second) == {"onegate.server": "other"}
            assert collector.one("run").parent_span_id == second.span_id
    finally:
        for server in fleet.servers:
            await server.stop()
        await fleet.executor.close()


class Heard(Dispatcher):
    """A dispatcher that remembers what came with its last request."""

    headers: dict[str, str | None] = {}  # noqa: RUF012  # replaced, never changed

    async def infer(self, request: Any) -> Any:
        names = ("traceparent", "tracestate", "baggage", "x-request-id")
        self.headers = {name: request.header(name) for name in names}
        return await super().infer(request)


@asynccontextmanager
async def another_server() -> AsyncIterator[tuple[Heard, Dispatcher, str]]:
    """What another server hears, a dispatcher whose model is there, and its address."""
    plain = dispatcher_of(entry())
    heard = Heard(plain.router)
    heard.loaded = plain.loaded
    upstream = await Upstream(heard).start()
    executor = UpstreamExecutor(version_of(upstream.address))
    try:
        await executor.reconnect()
        yield heard, dispatcher_of(version_of(upstream.address), executor=executor), upstream.address
    finally:
        await executor.close()
        await upstream.stop()


SENT = {"traceparent": PARENT, "tracestate": "vendor=1", "baggage": "shop=7", "x_request_id": "order-9"}


async def test_another_server_gets_the_context_with_the_hop_as_parent(free_port: int) -> None:
    async with another_server() as (heard, dispatcher, address):
        with collecting() as collector:
            async with endpoint(dispatcher, free_port, settings_for(collector.url)) as at:
                assert (await ask(at, **SENT))[0] == 200
            hop = collector.one("hop")
            assert heard.headers == {
                "traceparent": f"00-{TRACE}-{ids(hop)[1]}-01",
                "tracestate": "vendor=1",
                "baggage": "shop=7",
                "x-request-id": "order-9",
            }
            assert attributes(hop) == {"onegate.server": address}


async def test_another_server_gets_the_context_as_it_came_where_nothing_is_traced(free_port: int) -> None:
    async with another_server() as (heard, dispatcher, _), endpoint(dispatcher, free_port) as at:
        assert (await ask(at, **SENT))[0] == 200
        assert heard.headers == {
            "traceparent": PARENT,
            "tracestate": "vendor=1",
            "baggage": "shop=7",
            "x-request-id": "order-9",
        }
        assert (await ask(at, traceparent="00-nonsense"))[0] == 200
        assert set(heard.headers.values()) == {None}


async def test_a_request_that_is_given_up_while_its_batch_runs_has_a_batch_without_an_end(free_port: int) -> None:
    executor = GatedExecutor()
    dispatcher = dispatcher_of(entry(deadline_ms=100), executor=executor)
    with collecting() as collector:
        async with endpoint(dispatcher, free_port, settings_for(collector.url)) as at:
            status, _ = await ask(at)
            assert status == 504
            await at.flush()
            executor.gate.set()
        assert attributes(collector.one("batch"))["onegate.batch.unfinished"] is True
        assert attributes(collector.one("infer double"))["error.type"] == "DeadlineExceeded"


async def test_where_nothing_is_traced_nothing_is_told_of_traces(free_port: int) -> None:
    async with endpoint(dispatcher_of(entry()), free_port) as at:
        status, headers = await ask(at, traceparent=PARENT)
        assert status == 200
        assert headers.keys().isdisjoint({"traceresponse", "x-request-id"})
