"""Operations on models that do not come off, and what is taken back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from model_store import generations
from model_store.errors import (
    ConfigError,
    Conflict,
    Forbidden,
    InvalidInput,
    ModelNotFound,
    OnegateError,
    OutOfMemory,
    SourceError,
)
from serve.config import Config
from serve.operations import (
    InspectModel,
    LoadModel,
    ModelList,
    ModelStatus,
    ReplaceModels,
    ScaleModel,
    SetDefault,
    UnloadModel,
)
from tests.model_store.web import FILE, SENDS_ON, web_server
from tests.serve.administered import administered
from tests.serve.waiting import eventually


async def test_a_source_that_can_not_be_converted_leaves_what_served(tmp_path: Path, two: str) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x07 this is no graph")
    async with administered(tmp_path, {"name": "m", "source": two}) as served:
        await served.do(LoadModel(model="m"))
        before = served.desired.config
        with pytest.raises(OnegateError) as caught:
            await served.do(LoadModel(model="m", source=str(broken)))
        assert type(caught.value) is SourceError
        assert served.desired.config == before
        assert await served.call("m") == 2
        await eventually(lambda: served.desired.gathered.progress == {})
        assert await served.states(InspectModel(model="m")) == {"m": [("1", "READY")]}


async def test_a_new_model_that_can_not_be_prepared_is_not_kept(tmp_path: Path) -> None:
    async with administered(tmp_path) as served:
        with pytest.raises(SourceError, match="does not exist"):
            await served.do(LoadModel(model="m", source=str(tmp_path / "absent.onnx")))
        assert served.names() == []
        with pytest.raises(ModelNotFound, match="neither in the config, nor was it, nor in the store"):
            await served.do(LoadModel(model="m"))
        with pytest.raises(ModelNotFound):
            await served.do(InspectModel(model="m"))


async def test_a_version_that_does_not_fit_is_out_of_memory_and_taken_back(
    tmp_path: Path, two: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with administered(tmp_path) as served:
        monkeypatch.setattr("serve.runtime_loading.available_bytes", lambda: 10)
        with pytest.raises(OutOfMemory, match="unload another model first"):
            await served.do(LoadModel(model="m", source=two))
        assert served.names() == []
        await eventually(lambda: served.fleet.versions == {})


async def test_what_another_call_changed_meanwhile_is_not_taken_back(tmp_path: Path, two: str) -> None:
    async with administered(tmp_path) as served:
        failing = asyncio.ensure_future(served.do(LoadModel(model="m", source=str(tmp_path / "absent.onnx"))))
        # Not by its name, which is there for a moment only.
        await eventually(lambda: served.desired.number > 1)
        await served.do(LoadModel(model="n", source=two))
        with pytest.raises(SourceError):
            await failing
        assert served.names() == ["n"]


async def test_of_two_versions_at_once_the_one_that_can_not_be_loaded_leaves_the_other(
    tmp_path: Path, two: str, three: str
) -> None:
    absent = LoadModel(model="m", source=str(tmp_path / "absent.onnx"), version="9")
    async with administered(tmp_path, {"name": "m", "source": two}) as served:
        calls = [absent, LoadModel(model="m", source=three, version="3")]
        outcomes = await asyncio.gather(*(served.do(call) for call in calls), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [SourceError, ModelList]
        (model,) = served.desired.config.models
        assert [version.source for version in model.wanted_versions()] == [two, three]
        assert await served.call("m", "3") == 3


@pytest.mark.parametrize("left", [[], [{"name": "m", "source": "/absent.onnx"}]])
async def test_a_load_that_a_config_overtakes_is_a_conflict_and_leaves_the_config(
    tmp_path: Path, two: str, left: list[dict[str, Any]]
) -> None:
    async with administered(tmp_path) as served:
        served.going.clear()
        loading = asyncio.ensure_future(served.do(LoadModel(model="m", source=two)))
        await eventually(lambda: served.names() == ["m"])
        config = Config.model_validate({**served.desired.config.document(), "models": left})
        await served.desired.apply(config)
        served.going.set()
        with pytest.raises(Conflict, match="unloaded or changed by another call meanwhile"):
            await loading
        assert served.desired.config == config


async def test_what_a_gateway_reads_at_its_start_is_refused_key_by_key(tmp_path: Path) -> None:
    async with administered(tmp_path) as served:
        before = served.desired.config
        document = {
            **before.document(),
            "gateway": {"grpc_port": 9001, "tls": {"certificate": "c", "private_key": "k"}},
        }
        with pytest.raises(ConfigError) as caught:
            await served.desired.apply(Config.model_validate(document))
        assert caught.value.message == (
            "gateway.grpc_port: runs with 8081, got 9001; "
            "gateway.tls: runs with unset, got {certificate: c, private_key: k}: restart `onegate up` to change that"
        )
        assert served.desired.config == before


async def test_an_unload_ends_a_load_that_is_under_way(tmp_path: Path, two: str) -> None:
    async with administered(tmp_path) as served:
        served.going.clear()
        loading = asyncio.ensure_future(served.do(LoadModel(model="m", source=two)))
        await eventually(lambda: served.names() == ["m"])
        unloading = asyncio.ensure_future(served.do(UnloadModel(model="m")))
        await eventually(lambda: served.names() == [])
        served.going.set()
        assert await unloading == ModelList((ModelStatus("m"),))
        with pytest.raises(Conflict):
            await loading
        assert served.names() == []


async def test_an_unload_ends_a_load_whose_replicas_do_not_come(tmp_path: Path, two: str) -> None:
    async with administered(tmp_path) as served:
        on_replicas = LoadModel(model="m", source=two, settings={"serve": {"executor": "replicas"}})
        loading = asyncio.ensure_future(served.do(on_replicas))
        await eventually(lambda: ("m", 1) in served.dispatcher.loaded)
        await served.do(UnloadModel(model="m"))
        with pytest.raises(Conflict, match="unloaded or changed by another call meanwhile"):
            await loading


async def test_what_can_not_be_taken_back_is_logged_and_the_first_reason_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with administered(tmp_path) as served:
        served.going.clear()
        loading = asyncio.ensure_future(served.do(LoadModel(model="m", source=str(tmp_path / "absent.onnx"))))
        await eventually(lambda: served.names() == ["m"])
        generations.append(served.store, served.desired.number + 1, served.desired.config.document())
        served.going.set()
        with pytest.raises(SourceError, match="does not exist"):
            await loading
        assert "desired state can't be taken back" in caplog.text


@pytest.mark.parametrize("source", ["m.onnx", "https://host/m.onnx", "/elsewhere/m.onnx"])
async def test_a_source_that_is_not_admitted_is_forbidden(tmp_path: Path, source: str) -> None:
    async with administered(tmp_path, allowed_sources=["file:///models/*"]) as served:
        with pytest.raises(Forbidden):
            await served.do(LoadModel(model="m", source=source))
        with pytest.raises(Forbidden):
            await served.do(ReplaceModels(models=({"name": "m", "source": source},)))
        assert served.names() == []


@pytest.mark.parametrize("model", ["m", None])
async def test_a_source_that_sends_on_to_what_is_not_admitted_is_not_loaded(tmp_path: Path, model: str | None) -> None:
    with web_server() as web:
        async with administered(tmp_path, allowed_sources=[web.url + SENDS_ON]) as served:
            with pytest.raises(SourceError, match="where it is not followed"):
                await served.do(LoadModel(model=model, source=web.url + SENDS_ON))
            assert (served.names(), web.asked.count(FILE)) == ([], 0)


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        (LoadModel(model="m", replace=False), Conflict),
        (LoadModel(model="absent"), ModelNotFound),
        (LoadModel(source="/a", files={"a": b""}), InvalidInput),
        (LoadModel(), InvalidInput),
        (UnloadModel(model="n"), ModelNotFound),
        (UnloadModel(model="m", version="9"), ModelNotFound),
        (ScaleModel(model="n", replicas=2), ModelNotFound),
        (SetDefault(model="m", version="9"), ModelNotFound),
        (InspectModel(model="n"), ModelNotFound),
        (InspectModel(model="m", version="9"), ModelNotFound),
    ],
)
async def test_what_can_not_be_asked_is_told(
    tmp_path: Path, two: str, operation: LoadModel, kind: type[OnegateError]
) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as served:
        with pytest.raises(kind):
            await served.do(operation)
        assert served.names() == ["m"]
        await eventually(lambda: served.desired.gathered.progress == {})
