"""What the URL of an upstream names, and the versions made of what the server tells."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_store.errors import ModelNotReady, OnegateError, SourceError
from model_store.manifest import TensorSpec
from model_store.store import Store
from serve.config import config_of
from serve.config_sections.model import ModelConfig
from serve.control.preparation import archive_manifest, prepare_model, stored_version
from serve.dispatcher import Dispatcher
from serve.executors.inline import InlineExecutor
from serve.inference import InferenceRequest, ModelQuery
from serve.loading import VersionLoader
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable
from serve.upstreams import UpstreamModel, is_upstream, upstream_model
from tests.serve.tiny_versions import FunctionRuntime, dispatcher_of, double, entry
from tests.serve.upstreams.servers import DOUBLED, FLOATS, version_of
from tests.serve.waiting import PATIENCE_S, eventually


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("grpc://host:8001/m", UpstreamModel(("host:8001",), "m", "", False)),
        ("grpcs://a:8001,b:8002/m?version=3", UpstreamModel(("a:8001", "b:8002"), "m", "3", True)),
        ("grpc://[::1]:8001/a%20model?version=", UpstreamModel(("[::1]:8001",), "a model", "", False)),
    ],
)
def test_a_url_names_addresses_model_and_version(source: str, named: UpstreamModel) -> None:
    assert is_upstream(source)
    assert upstream_model(source) == named


@pytest.mark.parametrize(
    "source",
    [
        "grpc://host/m", "grpc://host:8001", "grpc://host:8001/", "grpc:///m", "grpc://a:1,,b:2/m", "grpc://a:1/m/2",
        "grpc://a:1/m?v=2", "grpc://a:1/m#x", "grpc://user@a:1/m", "grpc://a:1,a:1/m", "grpc://a:0/m",
    ],
)  # fmt: skip
def test_a_url_of_another_form_is_refused(source: str) -> None:
    with pytest.raises(SourceError, match=r"expected (grpc://HOST:PORT/MODEL|nothing or `version`)"):
        upstream_model(source)


@pytest.mark.parametrize("source", ["/exports/grpc", "grpc.onnx", "https://grpc/m", None])
def test_other_sources_are_no_upstreams(source: str | None) -> None:
    assert not is_upstream(source)


# -- versions --------------------------------------------------------------------------------------------------------


def config(source: str, **upstream: Any) -> ModelConfig:
    return ModelConfig.model_validate({"name": "m", "source": source, "serve": {"upstream": upstream}})


async def test_a_url_becomes_a_version_once(serve: Any, tmp_path: Path) -> None:
    server = await serve()
    store = Store.open(str(tmp_path / "store"))
    model = config(f"grpc://{server.address}/double")
    told: list[str] = []
    before = await asyncio.to_thread(stored_version, store, model, model.wanted_versions()[0], [])
    prepared = [await asyncio.to_thread(prepare_model, store, model, [], {}, told.append) for _ in range(2)]
    (first,), (second,) = prepared
    assert (before, first.entry.manifest, told[0]) == (None, second.entry.manifest, f"asking {server.address}")
    manifest = first.entry.manifest
    assert (manifest.version, manifest.framework, manifest.runtime, manifest.files) == (1, "upstream", "upstream", {})
    assert manifest.signatures == entry().manifest.signatures
    assert manifest.row_independent is False
    assert first.entry.serve.executor == "upstream"
    assert await asyncio.to_thread(stored_version, store, model, model.wanted_versions()[0], []) == manifest


async def test_a_version_elsewhere_says_licence_and_notes_too(serve: Any, tmp_path: Path) -> None:
    server = await serve()
    store = Store.open(str(tmp_path / "store"))
    model = config(f"grpc://{server.address}/double").model_copy(update={"licence": "MIT", "notes": "of May"})
    await asyncio.to_thread(prepare_model, store, model, [], {}, lambda _: None)
    said = store.manifest("m", 1)
    assert (said.licence, said.notes) == ("MIT", "of May")


async def test_another_signature_or_merging_is_another_version(serve: Any, tmp_path: Path) -> None:
    server = await serve()
    store = Store.open(str(tmp_path / "store"))
    source = f"grpc://{server.address}/double"

    async def number(**upstream: Any) -> tuple[int, bool]:
        (wanted,) = await asyncio.to_thread(prepare_model, store, config(source, **upstream), [], {}, lambda _: None)
        return wanted.entry.manifest.version, wanted.entry.manifest.row_independent

    first, merging = await number(), await number(merge=True)
    other = dispatcher_of(entry(outputs=(TensorSpec("z", "FP64", (-1, 2)),)))
    server.dispatcher.router, server.dispatcher.loaded = other.router, other.loaded
    assert (first, merging, await number()) == ((1, False), (2, True), (3, False))


async def test_while_the_server_is_away_the_version_that_it_told_of_stays(serve: Any, tmp_path: Path) -> None:
    server = await serve()
    store = Store.open(str(tmp_path / "store"))
    model = config(f"grpc://{server.address}/double")
    (before,) = await asyncio.to_thread(prepare_model, store, model, [], {}, lambda _: None)
    await server.stop()
    told: list[str] = []
    (after,) = await asyncio.to_thread(prepare_model, store, model, [], {}, told.append)
    assert after == before
    assert told[-1].endswith("; going on with version 1")


async def test_a_server_that_was_never_there_is_told_with_its_address(tmp_path: Path, free_port: int) -> None:
    store = Store.open(str(tmp_path / "store"))
    model = config(f"grpc://127.0.0.1:{free_port}/double")
    with pytest.raises(SourceError, match=rf"no upstream address tells of model 'double': 127\.0\.0\.1:{free_port}: "):
        await asyncio.to_thread(prepare_model, store, model, [], {}, lambda _: None)
    assert store.versions("m") == []


def test_an_upstream_is_no_archive() -> None:
    assert archive_manifest("grpc://a:1/m", []) is None


async def test_a_gateway_routes_between_a_version_here_and_one_there(serve: Any, tmp_path: Path) -> None:
    there = await serve(
        dispatcher_of(
            entry(),
            executor=InlineExecutor(FunctionRuntime(lambda inputs: {"y": inputs["x"] * 10}), on_loop=True),
        )
    )
    here = dispatcher_of(entry())
    loader = VersionLoader(here, tmp_path, "here", "secret")
    elsewhere = version_of(there.address)
    elsewhere = msgspec.structs.replace(elsewhere, manifest=msgspec.structs.replace(elsewhere.manifest, version=2))
    loader.states["double", 1] = "ready"
    table = RoutingTable(2, "./store", (entry(), elsewhere), {"double": ModelRoute(((1, 100),), {"canary": 2})})
    loader.follow(table)
    await eventually(lambda: loader.states == {("double", 1): "ready", ("double", 2): "ready"})

    async def ask(label: str | None) -> list[list[float]]:
        response = await here.infer(InferenceRequest("double", label=label, inputs=FLOATS))
        assert response.outputs is not None
        return response.outputs["y"].tolist()  # type: ignore[no-any-return]

    assert (await ask(None), await ask("canary")) == (DOUBLED, [[15, -20]])
    loader.follow(msgspec.structs.replace(table, number=3, versions=(entry(),), routes={}))
    await eventually(lambda: loader.states == {("double", 1): "ready"})


async def test_requests_are_merged_only_where_the_config_says_so(serve: Any, tmp_path: Path) -> None:
    rows: list[list[int]] = []
    for merge in (False, True):
        runtime = FunctionRuntime(double)
        there = await serve(dispatcher_of(entry(), executor=InlineExecutor(runtime, on_loop=True)))
        version = version_of(there.address, max_concurrent=1)
        manifest = msgspec.structs.replace(version.manifest, row_independent=merge)
        here = Dispatcher(Router())
        loader = VersionLoader(here, tmp_path, "here", "secret")
        loader.follow(
            RoutingTable(
                1, "", (msgspec.structs.replace(version, manifest=manifest),), {"double": ModelRoute(((1, 100),))}
            )
        )
        await eventually(lambda loader=loader: loader.states == {("double", 1): "ready"})
        requests = [InferenceRequest("double", inputs=FLOATS) for _ in range(6)]
        answers = await asyncio.gather(*map(here.infer, requests))
        assert [answer.outputs["y"].tolist() for answer in answers] == [DOUBLED] * 6  # type: ignore[index]
        rows.append(runtime.batches)
        loader.follow(RoutingTable(2, ""))
        await eventually(lambda loader=loader: loader.states == {})
    assert rows == [[1] * 6, [6]]


async def test_a_version_whose_servers_stay_away_is_not_ready_until_one_is_back(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.watchdog.AWAY_S", 0.05)
    there = await serve()
    here = Dispatcher(Router())
    loader = VersionLoader(here, tmp_path, "here", "secret")
    table = RoutingTable(1, "", (version_of(there.address),), {"double": ModelRoute(((1, 100),))})
    loader.follow(table)
    await eventually(lambda: loader.states == {("double", 1): "ready"})
    await loader.reconnect()
    await there.stop()

    waiting = [asyncio.ensure_future(here.infer(InferenceRequest("double", inputs=FLOATS))) for _ in range(2)]
    await eventually(lambda: here.loaded["double", 1].executor.slots == 0)
    await asyncio.sleep(0.06)
    await loader.reconnect()
    reason = r"^model 'double' version 1: no upstream server has answered for \d+ s$"
    for refused in (*waiting, here.infer(InferenceRequest("double", inputs=FLOATS)), here.answer(ModelQuery("double"))):
        with pytest.raises(ModelNotReady, match=reason):
            await refused
    told = "trouble: ModelNotReady: model 'double' version 1: no upstream server has"
    assert loader.states["double", 1].startswith(told)
    loader.follow(msgspec.structs.replace(table, number=2))
    await eventually(lambda: not loader._tasks)
    assert loader.states["double", 1].startswith(told)

    await there.start()
    async with asyncio.timeout(PATIENCE_S):
        while loader.states["double", 1] != "ready":
            await loader.reconnect()
    assert (await here.infer(InferenceRequest("double", inputs=FLOATS))).outputs is not None
    loader.follow(RoutingTable(3, ""))
    await eventually(lambda: loader.states == {})


async def test_a_version_whose_servers_never_answered_goes_on_loading(
    tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.watchdog.AWAY_S", 0.0)
    here = Dispatcher(Router())
    loader = VersionLoader(here, tmp_path, "here", "secret")
    loader.follow(RoutingTable(1, "", (version_of(f"127.0.0.1:{free_port}"),), {"double": ModelRoute(((1, 100),))}))
    await eventually(lambda: ("double", 1) in here.loaded)
    for _ in range(2):
        await loader.reconnect()
    assert loader.states == {("double", 1): "loading"}
    loader.follow(RoutingTable(2, ""))
    await eventually(lambda: loader.states == {})


def test_contradictions_of_an_upstream_are_told(tmp_path: Path) -> None:
    serve = {"executor": "replicas", "upstream": {"private_key": "k.pem", "api_key_file": "a", "api_key_env": "B"}}
    document = {"models": [{"name": "m", "source": "grpc://a:1/m", "serve": serve}]}
    with pytest.raises(OnegateError) as refused:
        config_of(document, "test")
    for part in (
        "models[0].serve.executor: the model runs on another server (grpc://a:1/m); expected 'auto'",
        "models[0].serve.upstream.private_key: is the key of a `certificate`, which is missing",
        "'api_key_file' and 'api_key_env' exclude each other; keep one",
    ):
        assert part in refused.value.message
