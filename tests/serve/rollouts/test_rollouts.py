"""Rollouts with a real store, fleet and gateway: traffic, labels, going back, what the store publishes, who did it."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_store import generations, served
from model_store.errors import Conflict, ModelNotFound, OnegateError, StoreError
from model_store.store import Store
from serve.caller import CALLER
from serve.config import Config
from serve.control.desired_state import DesiredState
from serve.control.fleet import Fleet
from serve.control.history import history
from serve.control.store_following import StoreFollowing
from serve.operations import LoadModel, RollBack, SetLabels, SetTraffic, UnloadModel
from serve.reports import GatewayReport
from tests.serve.administered import Administered, administered, converted
from tests.serve.waiting import eventually


@pytest.fixture
def two(tmp_path: Path) -> str:
    """An export that is converted already: it is version 1 of `m`."""
    return converted(tmp_path, 2, "m")


@pytest.fixture
def three(tmp_path: Path, two: str) -> str:
    """Another: version 2."""
    return converted(tmp_path, 3, "m")


def records(served_models: Administered) -> list[list[tuple[int, int]]]:
    """What was served of `m`, oldest first: version and traffic."""
    found = reversed(list(served.newest_first(served_models.store, "m")))
    return [[(v["version"], v["traffic"]) for v in record.document["versions"]] for record in found]


async def written(served_models: Administered, count: int) -> None:
    await eventually(lambda: len(served.numbers(served_models.store, "m")) == count)


# -- traffic and labels ----------------------------------------------------------------------------------------------


async def test_traffic_goes_to_a_version_of_the_store_when_the_call_returns(
    tmp_path: Path, two: str, three: str
) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        answer = await it.do(SetTraffic(model="m", traffic={"1": 0, "2": 100}))
        assert [(v.version, v.traffic) for v in answer.models[0].versions] == [("1", 0), ("2", 100)]
        assert [await it.call("m"), await it.call("m", "1")] == [3, 2]
        await written(it, 2)
        assert records(it) == [[(1, 100)], [(1, 0), (2, 100)]]


async def test_a_label_is_called_when_the_call_returns(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await it.do(SetLabels(model="m", labels={"next": "2"}))
        assert it.dispatcher.router.labels("m") == {"next": "2"}
        assert await it.call("m") == 2
        await it.do(SetLabels(model="m", labels={"next": "1"}))
        assert it.dispatcher.router.labels("m") == {"next": "1"}
        await it.do(SetLabels(model="m", labels={"next": None}))
        assert it.dispatcher.router.labels("m") == {}


async def test_traffic_for_a_version_that_does_not_load_is_taken_back(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await it.do(LoadModel(model="m"))
        blob = it.store.manifest("m", 2).files["model.onnx"].sha256
        (tmp_path / "store" / "blobs" / "sha256" / blob).unlink()
        with pytest.raises(OnegateError):
            await it.do(SetTraffic(model="m", traffic={"2": 100}))
        assert await it.call("m") == 2
        newest = generations.newest(it.store)
        assert newest is not None
        assert (newest.number, newest.why) == (3, "traffic of m taken back")


# -- rollback --------------------------------------------------------------------------------------------------------


async def test_a_rollback_goes_back_and_a_rollback_of_it_forward(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        await it.do(LoadModel(model="m", source=three))
        assert await it.call("m") == 3

        await it.do(RollBack(model="m"))
        assert await it.call("m") == 2
        await it.do(RollBack(model="m"))
        assert await it.call("m") == 3
        await it.do(RollBack(model="m", to=1))
        assert await it.call("m") == 2
        await written(it, 5)
        assert records(it) == [[(1, 100)], [(2, 100)], [(1, 100)], [(2, 100)], [(1, 100)]]
        newest = generations.newest(it.store)
        assert newest is not None
        assert newest.why == "rollback of m to 1"


async def test_a_rollback_serves_what_was_served_though_the_source_holds_other_bytes(
    tmp_path: Path, two: str, three: str
) -> None:
    source = tmp_path / "m.onnx"
    shutil.copy(two, source)
    async with administered(tmp_path, {"name": "m", "source": str(source)}) as it:
        await written(it, 1)
        shutil.copy(three, source)
        await it.desired.apply(it.desired.config)
        await written(it, 2)
        assert await it.call("m") == 3
        await it.do(RollBack(model="m"))
        assert await it.call("m") == 2


async def test_a_kept_version_is_there_for_the_rollback(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two, "keep_previous_s": 3600}) as it:
        await written(it, 1)
        await it.do(LoadModel(model="m", source=three))
        await written(it, 2)
        kept = it.dispatcher.loaded["m", 1]
        await it.do(RollBack(model="m"))
        assert it.dispatcher.loaded["m", 1] is kept
        assert await it.call("m") == 2


async def test_what_is_unloaded_holds_no_memory_though_replaced_versions_are_kept(
    tmp_path: Path, two: str, three: str
) -> None:
    versions = [{"version": 1, "traffic": 100}, {"version": 2, "traffic": 0}]
    async with administered(tmp_path, {"name": "m", "versions": versions, "keep_previous_s": 3600}) as it:
        await it.do(LoadModel(model="m"))
        await it.do(UnloadModel(model="m", version="2"))
        assert list(it.dispatcher.loaded) == [("m", 1)]


async def test_a_rollback_of_what_never_came_about_goes_to_what_is_served(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        broken = {"name": "m", "source": str(tmp_path / "absent.onnx")}
        await it.desired.apply(Config.model_validate({**it.desired.config.document(), "models": [broken]}))
        await eventually(lambda: "m" in it.desired.gathered.failures)
        await it.do(RollBack(model="m"))
        assert (it.desired.gathered.failures, await it.call("m")) == ({}, 2)
        assert records(it) == [[(1, 100)]]


@contextmanager
def held_records(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Nothing of what is served gets into the store before the event, or the end of the block."""
    let = threading.Event()
    create = store.filesystem.create

    def hold(path: str, data: bytes) -> None:
        if path.startswith("served/"):
            let.wait(20)
        create(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(store.filesystem, "create", hold)
        try:
            yield let
        finally:
            let.set()


async def test_a_rollback_waits_for_the_record_of_what_was_served_last(
    tmp_path: Path, two: str, three: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {"versions": [{"source": two, "traffic": 100}, {"source": three, "traffic": 0}]}
    async with administered(tmp_path, {"name": "m", **versions}) as it:
        await written(it, 1)
        await it.do(SetTraffic(model="m", traffic={"1": 50, "2": 50}))
        await written(it, 2)
        with held_records(it.store, monkeypatch) as let:
            await it.do(SetTraffic(model="m", traffic={"1": 0, "2": 100}))
            back = asyncio.ensure_future(it.do(RollBack(model="m")))
            await asyncio.sleep(0.1)
            assert not back.done()
            let.set()
            await back
        await written(it, 4)
        assert records(it)[-2:] == [[(1, 0), (2, 100)], [(1, 50), (2, 50)]]


async def test_no_change_overtakes_the_record_of_what_it_replaces(
    tmp_path: Path, two: str, three: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A controller killed in between would take the record along, and a rollback go further back."""
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        with held_records(it.store, monkeypatch) as let:
            await it.do(LoadModel(model="m", source=three))
            retraffic = asyncio.ensure_future(it.do(SetLabels(model="m", labels={"stable": "2"})))
            applied = asyncio.ensure_future(it.desired.apply(it.desired.config))
            await asyncio.sleep(0.1)
            newest = generations.newest(it.store)
            assert newest is not None
            assert (newest.number, retraffic.done(), applied.done()) == (2, False, False)
            let.set()
            await retraffic
            await applied


async def test_a_rollback_brings_a_retired_model_back(tmp_path: Path, two: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        await it.do(UnloadModel(model="m"))
        await it.do(RollBack(model="m"))
        assert await it.call("m") == 2


async def test_where_there_is_nothing_to_go_back_to_it_is_told(tmp_path: Path, two: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        with pytest.raises(ModelNotFound, match="there is nothing to go back to"):
            await it.do(RollBack(model="m"))
        with pytest.raises(ModelNotFound, match="no record 7 of what was served of 'm'; there: 1;"):
            await it.do(RollBack(model="m", to=7))
        assert it.desired.number == 1


# -- what the store publishes ----------------------------------------------------------------------------------------


async def test_the_newest_versions_of_the_store_are_served_and_the_newest_answers(
    tmp_path: Path, two: str, three: str
) -> None:
    async with administered(tmp_path, {"name": "m", "versions": {"latest": 2}}) as it:
        following = StoreFollowing(it.desired)
        await eventually(lambda: it.fleet.is_served("m"))
        assert [await it.call("m"), await it.call("m", "1")] == [3, 2]

        await following.look()
        assert it.desired.gathered.progress == {}
        converted(tmp_path, 4, "m")
        await following.look()
        await eventually(lambda: set(it.dispatcher.loaded) == {("m", 2), ("m", 3)})
        assert [await it.call("m"), await it.call("m", "2")] == [4, 3]
        assert it.desired.number == 1


async def test_a_published_version_that_does_not_load_leaves_what_answers(
    tmp_path: Path, two: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with administered(tmp_path, {"name": "m", "versions": "all"}) as it:
        await eventually(lambda: it.fleet.is_served("m"))
        converted(tmp_path, 3, "m")
        blob = it.store.manifest("m", 2).files["model.onnx"].sha256
        (tmp_path / "store" / "blobs" / "sha256" / blob).unlink()
        await StoreFollowing(it.desired).look()
        await eventually(lambda: it.fleet.versions.get(("m", 2), it.fleet.versions["m", 1]).phase == "FAILED")
        assert await it.call("m") == 2


async def test_a_store_that_has_no_version_yet_is_waited_for(tmp_path: Path) -> None:
    async with administered(tmp_path, {"name": "m", "versions": "all"}) as it:
        following = StoreFollowing(it.desired)
        await eventually(lambda: "m" in it.desired.gathered.failures)
        assert "publish one with `onegate convert SOURCE --name m`" in it.desired.gathered.failures["m"].message
        await following.look()
        assert "m" in it.desired.gathered.failures
        converted(tmp_path, 2, "m")
        await following.look()
        await eventually(lambda: it.fleet.is_served("m"))
        assert await it.call("m") == 2


async def test_a_version_that_the_store_could_not_give_is_tried_again(
    tmp_path: Path, two: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with administered(tmp_path, {"name": "m", "versions": "all"}) as it:
        following = StoreFollowing(it.desired)
        await eventually(lambda: it.fleet.is_served("m"))
        converted(tmp_path, 3, "m")
        with monkeypatch.context() as away:

            def fail(name: str, version: int) -> None:
                raise StoreError("the store is away")

            away.setattr(it.store, "manifest", fail)
            await following.look()
            await eventually(lambda: "m" in it.desired.gathered.failures)
        await following.look()
        await eventually(lambda: ("m", 2) in it.dispatcher.loaded and it.fleet.is_served("m"))
        assert await it.call("m") == 3


async def test_a_store_that_can_not_be_looked_at_is_told_once_and_looked_at_again(
    tmp_path: Path, two: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("serve.control.store_following.LOOK_S", 0.01)
    async with administered(tmp_path, {"name": "m", "versions": "all"}) as it:
        await eventually(lambda: it.fleet.is_served("m"))
        looks = 0
        names = it.store.filesystem.names

        def away(folder: str) -> list[str]:
            nonlocal looks
            looks += 1
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(it.store.filesystem, "names", away)
        running = asyncio.create_task(StoreFollowing(it.desired).run())
        await eventually(lambda: looks > 3)
        monkeypatch.setattr(it.store.filesystem, "names", names)
        await asyncio.to_thread(converted, tmp_path, 3, "m")
        await eventually(lambda: it.fleet.is_served("m") and ("m", 2) in it.dispatcher.loaded)
        running.cancel()
        assert caplog.text.count("the store can't be looked at for new versions") == 1
        assert await it.call("m") == 3


# -- who, and who was first ------------------------------------------------------------------------------------------


async def test_history_says_who_changed_what_and_why(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        CALLER.set("key:ada")
        await it.do(SetTraffic(model="m", traffic={"2": 100}))
        await written(it, 2)
        CALLER.set("key:bob")
        await it.do(RollBack(model="m"))
        found = history(it.store, "m")
        assert [(e.number, e.by, e.why) for e in found.generations] == [
            (3, "key:bob", "rollback of m to 1"),
            (2, "key:ada", "traffic of m"),
            (1, "", ""),
        ]
        await written(it, 3)
        assert [(r.number, r.by, r.text) for r in history(it.store, "m").served] == [
            (3, "key:bob", "version 1 100%"),
            (2, "key:ada", "version 1 0%, version 2 100%"),
            (1, "", "version 1 100%"),
        ]


async def test_of_two_appliers_one_wins_and_the_other_is_told_by_whom(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        config = it.desired.config
        changed = Config.model_validate({**config.document(), "models": [{"name": "m", "source": three}]})
        CALLER.set("user:ada")
        outcomes = await asyncio.gather(
            it.desired.apply(changed, 1), it.desired.apply(config, 1), return_exceptions=True
        )
        (lost,) = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert isinstance(lost, Conflict)
        assert "generation 2 (apply, by user:ada at " in lost.message
        assert generations.numbers(it.store) == [1, 2]


async def test_of_two_controllers_one_writes_and_the_other_is_refused(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        first = generations.newest(it.store)
        assert first is not None
        rival = DesiredState(it.store, Fleet(it.store.url, 500), first, lambda: None)
        await it.do(LoadModel(model="m", source=three))
        with pytest.raises(Conflict, match=r"another controller wrote generation 2 \(load of m, at "):
            await rival.apply(rival.config)
        assert rival.number == 1
        assert generations.numbers(it.store) == [1, 2]


async def restarted(it: Administered) -> DesiredState:
    """The next controller, which has found what the gateway serves, and prepared `m`."""
    newest = generations.newest(it.store)
    assert newest is not None
    adopted = asyncio.Event()
    fleet = Fleet(it.store.url, 500)
    again = DesiredState(it.store, fleet, newest, lambda: None, adopted=adopted)
    await asyncio.sleep(0)
    assert again.prepared == {}
    table = it.dispatcher.router.table
    fleet.adopt(table, GatewayReport("g", table.number, dict(it.loader.states)))
    adopted.set()
    await eventually(lambda: "m" in again.prepared)
    return again


def made_of(desired: DesiredState) -> list[tuple[str | None, int]]:
    return [(wanted.source, wanted.entry.key[1]) for wanted in desired.fleet.wanted("m")]


async def test_a_source_that_was_overwritten_and_not_applied_is_not_read_by_the_next_controller(
    tmp_path: Path, two: str, three: str
) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        shutil.copy(three, two)
        again = await restarted(it)
        assert made_of(again) == [(two, 1)]
        assert again.prepared["m"].document == it.desired.prepared["m"].document
        assert {key: state.phase for key, state in again.fleet.versions.items()} == {("m", 1): "READY"}


async def test_a_source_that_was_applied_right_before_the_controller_ended_is_read_by_the_next(
    tmp_path: Path, two: str, three: str
) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        it.follows = False
        shutil.copy(three, two)
        await it.desired.apply(it.desired.config)
        assert made_of(await restarted(it)) == [(two, 2)]


async def test_an_edit_of_traffic_right_before_the_controller_ended_reads_no_source(
    tmp_path: Path, two: str, three: str
) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        it.follows = False
        changing = asyncio.ensure_future(it.do(SetTraffic(model="m", traffic={"1": 60, "2": 40})))
        await eventually(lambda: it.desired.number == 2)
        shutil.copy(three, two)
        assert made_of(await restarted(it)) == [(two, 1), (None, 2)]
        it.follows = True
        await changing


async def test_a_version_that_was_pruned_is_made_again_by_the_next_controller(
    tmp_path: Path, two: str, three: str
) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        (tmp_path / "store/models/m/1/manifest.json").unlink()
        shutil.copy(three, two)
        assert made_of(await restarted(it)) == [(two, 2)]


async def test_a_rollback_leaves_a_version_whose_replicas_were_all_lost(tmp_path: Path, two: str, three: str) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        await it.do(LoadModel(model="m", source=three))
        await written(it, 2)
        state = it.fleet.versions["m", 2]
        state.reason = "the replica ended"
        await it.do(RollBack(model="m"))
        assert await it.call("m") == 2


async def test_a_rollback_to_a_version_that_was_pruned_is_told_and_taken_back(
    tmp_path: Path, two: str, three: str
) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        await it.do(LoadModel(model="m", source=three))
        await written(it, 2)
        (tmp_path / "store/models/m/1/manifest.json").unlink()
        with pytest.raises(OnegateError, match="1"):
            await it.do(RollBack(model="m"))
        assert await it.call("m") == 3
        await eventually(lambda: it.desired.in_force("m") is not None)
        assert it.desired.config.models[0].source == three


async def test_a_controller_that_starts_again_has_what_the_newest_generation_says(
    tmp_path: Path, two: str, three: str
) -> None:
    async with administered(tmp_path, {"name": "m", "source": two}) as it:
        await written(it, 1)
        await it.do(SetTraffic(model="m", traffic={"1": 60, "2": 40}))
        await written(it, 2)
        newest = generations.newest(it.store)
        assert newest is not None
        fleet = Fleet(it.store.url, 500)
        again = DesiredState(it.store, fleet, newest, lambda: None)
        await eventually(lambda: "m" in again.prepared)
        assert again.config == it.desired.config
        assert [(w.entry.key, w.traffic) for w in fleet.wanted("m")] == [(("m", 1), 60), (("m", 2), 40)]
        assert again.prepared["m"].document == it.desired.prepared["m"].document
