"""Operations on models with a real store, fleet and gateway: what is loaded, waited for, and told."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_store import generations
from model_store.errors import ConfigError, Conflict, Forbidden, InvalidInput, ModelNotFound, SourceError
from serve.control.desired_edits import Known
from serve.control.desired_state import DesiredState
from serve.control.preparation import prepare_model
from serve.control.registration import Registration
from serve.operations import (
    InspectModel,
    ListModels,
    LoadModel,
    ModelList,
    ModelStatus,
    ReplaceModels,
    ScaleModel,
    SetDefault,
    SetTraffic,
    UnloadModel,
    VersionStatus,
)
from serve.reports import ReplicaReport
from serve.routing import Replica
from tests.serve.administered import administered, converted, export
from tests.serve.waiting import eventually
from tests.sources.archives_writing import torchserve, write_zip

# -- load ------------------------------------------------------------------------------------------------------------


async def test_a_registered_source_answers_when_the_call_returns(tmp_path: Path) -> None:
    two = str(export(tmp_path / "two.onnx", 2))
    async with administered(tmp_path) as served:
        assert await served.states(LoadModel(model="m", source=two)) == {"m": [("1", "READY")]}
        assert await served.call("m") == 2
        newest = generations.newest(served.store)
        assert newest is not None
        assert (newest.number, [(m["name"], m["source"]) for m in newest.config["models"]]) == (2, [("m", two)])


async def test_versions_stand_side_by_side_until_the_default_moves(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as served:
        await served.do(LoadModel(model="m", source=three, version="3.0", replace=False))
        assert [await served.call("m"), await served.call("m", "1"), await served.call("m", "3.0")] == [2, 2, 3]
        with pytest.raises(Conflict):
            await served.do(LoadModel(model="m", source=three, version="3.0", replace=False))

        answer = await served.do(SetDefault(model="m", version="3.0"))
        assert [(v.version, v.default) for v in answer.models[0].versions] == [("1", False), ("3.0", True)]
        assert await served.call("m") == 3
        with pytest.raises(Forbidden, match="answers by default"):
            await served.do(UnloadModel(model="m", version="3.0"))

        assert await served.states(UnloadModel(model="m", version="1")) == {"m": [("3.0", "READY")]}
        assert list(served.dispatcher.loaded) == [("m", 2)]


async def test_what_the_controller_started_with_is_told_from_what_came_later(
    tmp_path: Path, two: str, three: str
) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as served:

        async def at_start() -> dict[str, bool]:
            (model,) = (await served.do(InspectModel(model="m"))).models
            return {version.version: version.at_start for version in model.versions}

        await eventually(lambda: ("m", 1) in served.dispatcher.loaded)
        await served.do(LoadModel(model="m", source=three, version="3", replace=False))
        assert await at_start() == {"1": True, "3": False}
        await served.do(UnloadModel(model="m"))
        await served.do(LoadModel(model="m"))
        assert await at_start() == {"1": False, "3": False}


async def test_an_unloaded_model_comes_back_as_it_was(tmp_path: Path, two: str) -> None:
    serve = {"deadline_ms": 1234}
    async with administered(tmp_path, {"name": "m", "source": two, "serve": serve}) as served:
        await served.do(LoadModel(model="m"))
        assert await served.states(UnloadModel(model="m")) == {"m": []}
        assert (served.names(), served.dispatcher.loaded) == ([], {})
        with pytest.raises(ModelNotFound):
            await served.call("m")
        assert await served.states(ListModels(stored=True)) == {"m": [("1", "STORED")], "n": [("1", "STORED")]}

        answer = await served.do(LoadModel(model="m"))
        assert answer.models[0].versions[0].deadline_ms == 1234
        assert await served.call("m") == 2


async def test_a_model_comes_back_as_it_was_last_and_not_as_it_was_first(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as served:
        await served.do(LoadModel(model="m", source=three, version="3"))
        await served.do(SetDefault(model="m", version="3"))
        await served.do(UnloadModel(model="m"))
        assert await served.states(LoadModel(model="m")) == {"m": [("1", "READY"), ("3", "READY")]}
        assert await served.call("m") == 3
        await served.do(UnloadModel(model="m", version="1"))
        await served.do(UnloadModel(model="m"))
        assert await served.states(LoadModel(model="m")) == {"m": [("3", "READY")]}


async def test_earlier_generations_are_read_for_what_was_unloaded_before_a_restart(tmp_path: Path, two: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two, "serve": {"deadline_ms": 1234}}) as served:
        earlier = served.desired.config.document()
    for number, config in ((2, {**earlier, "models": []}), (3, {**earlier, "models": []})):
        generations.append(served.store, number, config)
    (tmp_path / "store" / "generations" / "2.json").chmod(0o644)
    (tmp_path / "store" / "generations" / "2.json").write_text("damaged")
    newest = generations.newest(served.store)
    assert newest is not None
    again = DesiredState(served.store, served.fleet, newest, lambda: None)
    found = again.earlier("m")
    assert found is not None
    assert found["serve"]["deadline_ms"] == 1234
    assert again.earlier("n") is None


async def test_an_export_that_comes_as_bytes_becomes_a_version(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as served:
        files = {"model.onnx": await asyncio.to_thread(Path(three).read_bytes)}
        settings = {"serve": {"batching": {"max_batch_size": 8}}}
        answer = await served.do(LoadModel(model="m", files=files, version="5", settings=settings))
        loaded = [(v.version, v.max_batch_size, v.default) for v in answer.models[0].versions if v.state == "READY"]
        assert loaded == [("5", 8, True)]
        assert (await served.call("m"), await served.call("m", "5")) == (3, 3)
        (model,) = served.desired.config.models
        assert model.versions is not None
        assert [(v.version, v.as_version) for v in model.versions] == [(3, "5")]
        with pytest.raises(ModelNotFound, match="callable: 5"):
            await served.call("m", "1")


@pytest.mark.parametrize("name", ["../model.onnx", "/model.onnx", "a\\b.onnx", "a/../../b.onnx"])
async def test_bytes_that_leave_their_export_are_refused(tmp_path: Path, name: str) -> None:
    async with administered(tmp_path) as served:
        with pytest.raises(InvalidInput, match="expected a relative path"):
            await served.do(LoadModel(model="m", files={name: b"x"}))
        assert served.names() == []


async def test_a_call_without_waiting_returns_when_desired_state_is_written(tmp_path: Path, two: str) -> None:
    async with administered(tmp_path) as served:
        assert await served.states(LoadModel(model="m", source=two, wait=False)) == {"m": [("", "CONVERTING")]}
        assert served.names() == ["m"]
        await eventually(lambda: "m" in served.dispatcher.router.table.routes)


@pytest.mark.parametrize(("exists", "left"), [(True, ["m"]), (False, [])])
async def test_a_load_goes_on_to_its_end_when_the_client_goes_away(
    tmp_path: Path, two: str, exists: bool, left: list[str]
) -> None:
    source = two if exists else str(tmp_path / "absent.onnx")
    async with administered(tmp_path) as served:
        served.going.clear()
        asking = asyncio.ensure_future(served.administration.answer(LoadModel(model="m", source=source)))
        await eventually(lambda: served.names() == ["m"])
        asking.cancel()
        served.going.set()
        await eventually(lambda: list(served.dispatcher.router.table.routes) == served.names() == left)


async def test_a_call_that_waits_returns_when_the_gateway_has_taken_over_its_routes(
    tmp_path: Path, two: str, three: str
) -> None:
    versions = [{"source": two, "as_version": "2"}, {"source": three, "as_version": "3"}]
    async with administered(tmp_path, {"name": "m", "versions": versions}) as served:
        await served.do(LoadModel(model="m"))
        served.follows = False
        asking = asyncio.ensure_future(served.do(SetDefault(model="m", version="3")))
        await eventually(lambda: served.fleet.table.routes["m"].split == ((2, 100),))
        for _ in range(3):
            await served.desired.step()
        assert not asking.done()
        served.follows = True
        (model,) = (await asking).models
        assert [version.default for version in model.versions] == [False, True]
        assert await served.call("m") == 3


async def test_an_unload_returns_when_the_replicas_have_gone_too(tmp_path: Path, two: str) -> None:
    replica = ReplicaReport(Replica("r", "node", "unix:r", "127.0.0.1:1"), ("m", 1), "as deployed")
    async with administered(tmp_path, {"name": "m", "source": two}) as served:
        await served.do(LoadModel(model="m"))
        served.fleet.hear_replica(replica, time.monotonic())
        unloading = asyncio.ensure_future(served.do(UnloadModel(model="m")))
        await eventually(lambda: served.fleet.versions == {})
        for _ in range(3):
            await served.desired.step()
        assert not unloading.done()
        served.fleet.hear_replica(msgspec.structs.replace(replica, leaving=True), time.monotonic())
        assert await unloading == ModelList((ModelStatus("m"),))


async def test_several_at_once_all_come_about(tmp_path: Path, two: str) -> None:
    async with administered(tmp_path) as served:
        names = ["m", "n"]
        await asyncio.gather(*(served.do(LoadModel(model=name, source=two)) for name in names))
        assert sorted(served.names()) == names
        assert [await served.call(name) for name in names] == [2, 2]


async def test_sources_that_versions_were_made_of_are_read_again_only_when_they_are_loaded_again(
    tmp_path: Path, two: str, three: str
) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as served:
        await served.do(LoadModel(model="m"))
        os.unlink(two)
        batches_of_8 = {"serve": {"batching": {"max_batch_size": 8}}}
        with pytest.raises(SourceError, match=r"2\.onnx' does not exist"):
            await served.do(LoadModel(model="m", source=three, version="3.0", settings=batches_of_8))
        await served.do(LoadModel(model="m", source=three, version="3.0"))
        os.unlink(three)
        await served.do(SetDefault(model="m", version="3.0"))
        await served.do(ScaleModel(model="m", replicas=1, wait=True))
        assert await served.states(UnloadModel(model="m", version="1")) == {"m": [("3.0", "READY")]}
        assert await served.call("m") == 3

        with pytest.raises(SourceError, match=r"3\.onnx' does not exist"):
            await served.do(LoadModel(model="m"))
        assert await served.call("m") == 3


async def test_versions_of_the_store_stay_what_their_numbers_say(tmp_path: Path, two: str, three: str) -> None:
    versions = [{"version": 1}, {"version": 2}]
    async with administered(tmp_path, {"name": "m", "versions": versions}) as served:
        await served.do(LoadModel(model="m"))
        await served.do(SetDefault(model="m", version="2"))
        assert [await served.call("m"), await served.call("m", "1"), await served.call("m", "2")] == [3, 2, 3]


async def test_a_source_that_is_being_read_again_is_read_though_another_call_comes_in_between(
    tmp_path: Path, two: str, three: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, held = threading.Event(), threading.Event()

    def held_up(*arguments: Any) -> Any:
        begun.set()
        assert held.wait(5)
        return prepare_model(*arguments)

    four = converted(tmp_path, 4, "m", "n")
    async with administered(tmp_path, {"name": "m", "source": two}) as served:
        await served.do(LoadModel(model="m"))
        shutil.copyfile(three, two)
        monkeypatch.setattr("serve.control.preparation.prepare_model", held_up)
        loading = asyncio.ensure_future(served.do(LoadModel(model="m")))
        await eventually(begun.is_set)
        await served.do(LoadModel(model="m", source=four, version="4", wait=False))
        held.set()
        await loading
        assert [await served.call("m"), await served.call("m", "4")] == [3, 4]


async def test_a_source_that_changed_is_loaded_anew(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as served:
        await served.do(LoadModel(model="m"))
        shutil.copyfile(three, two)
        for operation in (LoadModel(model="m", source=two), LoadModel(model="m")):
            await served.do(operation)
            assert (await served.call("m"), await served.call("m", "2")) == (3, 3)
        assert served.desired.number == 1


async def test_an_applied_config_reads_all_sources_again(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as served:
        await served.do(LoadModel(model="m"))
        shutil.copyfile(three, two)
        await served.desired.apply(served.desired.config)
        await eventually(lambda: ("m", 2) in served.dispatcher.loaded)


# -- what an archive says of itself ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "asked", "named"),
    [
        ("torchserve", LoadModel(), ("net", None)),
        ("torchserve", LoadModel(replace=False), ("net", "2.0")),
        ("torchserve", LoadModel(model="m", replace=False), ("m", "2.0")),
        ("torchserve", LoadModel(model="m", version="9", replace=False), ("m", "9")),
        ("torchserve", LoadModel(model="m"), ("m", None)),
        ("mms", LoadModel(replace=False), ("net", None)),
        ("mms", LoadModel(model="m", replace=False), ("m", None)),
    ],
)
async def test_an_archive_says_its_name_and_torchserve_s_its_version(
    tmp_path: Path, server: str, asked: LoadModel, named: tuple[str, str | None]
) -> None:
    archive = write_zip(tmp_path / "net.mar", {**torchserve(modelVersion="2.0")})
    async with administered(tmp_path, gateway={"model_server": server}) as served:
        registration = Registration(served.desired, Known(lambda m, v: None, lambda m: None, lambda m: ()))
        found = await registration.named(asked, str(archive))
        assert (found.model, found.version) == named


@pytest.mark.parametrize("version", ["snapshot", None])
async def test_a_version_that_no_client_can_say_is_not_taken(tmp_path: Path, version: str | None) -> None:
    archive = write_zip(tmp_path / "net.mar", {**torchserve(modelVersion=version)})
    async with administered(tmp_path) as served:
        registration = Registration(served.desired, Known(lambda m, v: None, lambda m: None, lambda m: ()))
        found = await registration.named(LoadModel(replace=False), str(archive))
        assert (found.model, found.version) == ("net", None)


async def test_an_export_without_a_name_needs_one(tmp_path: Path, two: str) -> None:
    async with administered(tmp_path) as served:
        with pytest.raises(InvalidInput, match="expected the name of the model"):
            await served.do(LoadModel(source=two))


# -- scale, replace, list --------------------------------------------------------------------------------------------


async def test_more_than_one_replica_leaves_the_gateway_without_a_gap(tmp_path: Path, two: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as served:
        await served.do(LoadModel(model="m"))
        await served.do(ScaleModel(model="m", replicas=2))
        await eventually(
            lambda: {key: e.serve.replicas for key, e in served.fleet.deployments().items()} == {("m", 1): 2}, 10
        )
        # The preparation is a row of its own until it has ended.
        await eventually(lambda: served.desired.gathered.progress == {})
        answer = await served.do(InspectModel(model="m"))
        (version,) = answer.models[0].versions
        assert (version.executor, version.replicas_ready, version.replicas_wanted) == ("replicas", 0, 2)
        assert await served.call("m") == 2


async def test_all_models_are_replaced(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}, {"name": "n", "source": two}) as served:
        models = (
            {"name": "m", "versions": [{"source": two, "as_version": "7"}, {"source": three, "as_version": "8"}]},
        )
        assert await served.states(ReplaceModels(models=models)) == {"m": [("7", "READY"), ("8", "READY")]}
        assert (served.names(), await served.call("m", "8")) == (["m"], 3)
        await eventually(lambda: {key[0] for key in served.dispatcher.loaded} == {"m"})


async def test_sources_that_the_config_has_need_no_pattern(tmp_path: Path, two: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}, allowed_sources=[]) as served:
        models = ({"name": "m", "versions": [{"source": two, "as_version": "7"}]},)
        assert await served.states(ReplaceModels(models=models)) == {"m": [("7", "READY")]}


async def test_a_model_that_is_listed_twice_is_refused(tmp_path: Path, two: str) -> None:
    async with administered(tmp_path) as served:
        with pytest.raises(ConfigError, match="models need different names"):
            await served.do(ReplaceModels(models=({"name": "m", "source": two}, {"name": "m", "source": two})))
        assert served.names() == []


async def test_a_config_of_an_older_generation_is_not_applied(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as served:
        config = served.desired.config
        await served.do(LoadModel(model="n", source=three))
        with pytest.raises(Conflict, match=r"made from generation 1, and generation 2 \(load of n, at .*\) came since"):
            await served.desired.apply(config, 1)
        assert served.names() == ["m", "n"]
        await served.desired.apply(config, 2)
        assert (served.names(), served.desired.number) == (["m"], 3)


async def test_a_version_is_told_with_all_that_is_known(tmp_path: Path, two: str) -> None:
    model = {"name": "m", "versions": [{"source": two, "as_version": "1.5", "label": "stable"}]}
    async with administered(tmp_path, model) as served:
        (listed,) = (await served.do(LoadModel(model="m"))).models
        (version,) = listed.versions
        manifest = served.store.manifest("m", 1)
        assert version == VersionStatus(
            version="1.5",
            state="READY",
            labels=("stable",),
            default=True,
            traffic=100,
            source=two,
            framework="onnx",
            runtime="onnx",
            executor="inline",
            replicas_ready=1,
            replicas_wanted=1,
            max_batch_size=64,
            deadline_ms=30_000,
            size_bytes=sum(entry.size for entry in manifest.files.values()),
            created=manifest.created,
            at_start=True,
        )
        assert await served.do(InspectModel(model="m", version="1.5")) == await served.do(ListModels())


async def test_a_shadow_that_gets_a_share_is_told_to_be_none_any_more(tmp_path: Path, two: str, three: str) -> None:
    shadowed = {"name": "m", "versions": [{"source": two}, {"source": three, "shadow": True}]}
    async with administered(tmp_path, shadowed) as it:
        await eventually(lambda: it.desired.in_force("m") is not None)
        kept = await it.do(SetTraffic(model="m", traffic={"1": 100, "2": 0}))
        assert [version.was_shadow for version in kept.models[0].versions] == [False, False]
        assert it.fleet.table.routes["m"].shadows == ((2, 100.0),)

        ended = await it.do(SetTraffic(model="m", traffic={"1": 90, "2": 10}))
        told = [(version.version, version.traffic, version.was_shadow) for version in ended.models[0].versions]
        assert told == [("1", 90, False), ("2", 10, True)]
        assert it.fleet.table.routes["m"].shadows == ()
