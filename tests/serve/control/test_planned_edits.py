"""Traffic, labels and rollbacks looked at before they are made, with a real store, fleet and gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from model_store.errors import ConfigError, Conflict, ModelNotFound
from model_store.store import Store
from serve.config import Config
from serve.config_sections.model import ModelConfig, VersionConfig
from serve.control import desired_state
from serve.control.administration import Administration
from serve.control.desired import Change, Traffic
from serve.control.desired_state import DesiredState
from serve.control.fleet import Fleet
from serve.control.preparation import Preparer
from serve.control.version_policies import asked_versions
from serve.operations import LoadModel, RollBack, SetLabels, SetTraffic
from serve.reports import GatewayReport
from tests.serve.administered import Administered, administered, converted
from tests.serve.waiting import eventually


@pytest.fixture
def shared(tmp_path: Path) -> dict[str, Any]:
    """A model with two versions, of which the first gets most calls."""
    sources = [converted(tmp_path, factor, "m") for factor in (2, 3)]
    return {"name": "m", "versions": [{"source": sources[0], "traffic": 90}, {"source": sources[1], "traffic": 10}]}


def remove_sources(model: dict[str, Any]) -> None:
    for version in model["versions"]:
        Path(version["source"]).unlink()


async def served(it: Administered) -> None:
    await eventually(lambda: it.desired.in_force("m") is not None)


async def test_a_plan_of_traffic_says_what_moves_and_moves_nothing(tmp_path: Path, shared: dict[str, Any]) -> None:
    async with administered(tmp_path, shared) as it:
        await served(it)
        (change,) = await it.administration.plan(SetTraffic(model="m", traffic={"1": 50, "2": 50}))

        assert (change.model, change.action) == ("m", "change")
        assert change.traffic == Traffic({"1": 90, "2": 10}, {"1": 50, "2": 50})
        assert it.desired.number == 1
        assert it.fleet.table.routes["m"].split == ((1, 90), (2, 10))


async def test_a_plan_of_what_is_so_already_keeps_the_model(tmp_path: Path, shared: dict[str, Any]) -> None:
    async with administered(tmp_path, shared) as it:
        await served(it)
        (change,) = await it.administration.plan(SetTraffic(model="m", traffic={"1": 90, "2": 10}))
        assert change.action == "keep"


async def test_a_plan_of_labels_says_which_key_differs(tmp_path: Path, shared: dict[str, Any]) -> None:
    async with administered(tmp_path, shared) as it:
        await served(it)
        (change,) = await it.administration.plan(SetLabels(model="m", labels={"stable": "1"}))
        assert "versions[0].label: unset -> stable" in change.details


async def test_a_plan_raises_what_the_change_would(tmp_path: Path, shared: dict[str, Any]) -> None:
    async with administered(tmp_path, shared) as it:
        await served(it)
        with pytest.raises(ModelNotFound, match="has no version 7"):
            await it.administration.plan(SetTraffic(model="m", traffic={"7": 100}))
        with pytest.raises(ConfigError, match="100"):
            await it.administration.plan(SetTraffic(model="m", traffic={"1": 50}))
        with pytest.raises(ModelNotFound, match="there is nothing to go back to"):
            await it.administration.plan(RollBack(model="m"))


@pytest.mark.parametrize("to", [None, 3])
async def test_a_rollback_of_what_is_no_model_is_refused_as_its_traffic_is(
    tmp_path: Path, shared: dict[str, Any], to: int | None
) -> None:
    async with administered(tmp_path, shared) as it:
        for operation in (RollBack(model="nope", to=to), SetTraffic(model="nope", traffic={"1": 100})):
            with pytest.raises(ModelNotFound, match=r"^model 'nope' is not loaded$"):
                await it.administration.plan(operation)


async def test_a_plan_of_traffic_reads_no_source_again(tmp_path: Path, shared: dict[str, Any]) -> None:
    async with administered(tmp_path, shared) as it:
        await served(it)
        remove_sources(shared)
        (change,) = await it.administration.plan(SetTraffic(model="m", traffic={"1": 50, "2": 50}))
        assert change.traffic == Traffic({"1": 90, "2": 10}, {"1": 50, "2": 50})
        await it.do(SetTraffic(model="m", traffic={"1": 50, "2": 50}))
        assert it.fleet.table.routes["m"].split == ((1, 50), (2, 50))


async def test_a_plan_looks_at_no_other_model(
    tmp_path: Path, shared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [{"name": name, "source": converted(tmp_path, 2, name)} for name in ("a", "z")]
    async with administered(tmp_path, shared, *others) as it:
        await eventually(lambda: it.desired.prepared.keys() == {"m", "a", "z"})
        looked_at: list[str] = []

        def asked(store: Store, model: ModelConfig) -> list[VersionConfig]:
            looked_at.append(model.name)
            return asked_versions(store, model)

        monkeypatch.setattr(desired_state, "asked_versions", asked)
        (change,) = await it.administration.plan(SetTraffic(model="m", traffic={"1": 50, "2": 50}))
        assert (change.model, looked_at) == ("m", ["m"])


async def test_a_plan_of_a_controller_that_begins_takes_what_an_earlier_one_made_of_a_source(
    tmp_path: Path, shared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, second = shared["versions"]
    numbered = {"name": "m", "versions": [{"version": 1, "traffic": 90}, second]}
    async with administered(tmp_path, numbered) as it:
        await served(it)
        await eventually(lambda: it.dispatcher.router.table.number == it.fleet.table.number)
        remove_sources(shared)
        monkeypatch.setattr(Preparer, "prepare", never)
        table, fleet = it.dispatcher.router.table, Fleet(it.store.url, 500)
        fleet.adopt(table, GatewayReport("g", table.number, dict(it.loader.states)))
        again = Administration(DesiredState(it.store, fleet, it.desired.generation, lambda: None))
        (change,) = await again.plan(SetLabels(model="m", labels={"stable": "1"}))
        assert change.details == ("versions[0].label: unset -> stable",)
        assert [(step.action, step.version) for step in change.versions] == [("keep", 1), ("keep", 2)]


async def never(*_: Any) -> None:
    await asyncio.Event().wait()


async def test_a_plan_that_changes_nothing_prepares_nothing_that_could_fail(tmp_path: Path) -> None:
    converted(tmp_path, 2, "m")
    versions = [{"version": 1, "traffic": 100, "label": "stable"}, {"source": "/gone.onnx", "traffic": 0}]
    async with administered(tmp_path, {"name": "m", "versions": versions}) as it:
        await eventually(lambda: "m" in it.desired.gathered.failures)
        (change,) = await it.administration.plan(SetLabels(model="m", labels={"stable": "1"}))
        assert change == Change("m", "keep")


async def test_a_plan_of_a_config_says_how_long_a_version_is_kept_still(tmp_path: Path, shared: dict[str, Any]) -> None:
    kept = {"name": "m", "keep_previous_s": 600, "source": shared["versions"][0]["source"]}
    async with administered(tmp_path, kept) as it:
        await served(it)
        await it.do(LoadModel(model="m", source=shared["versions"][1]["source"]))
        await eventually(lambda: it.fleet.versions["m", 1].spare_since is not None)
        spare_since = it.fleet.versions["m", 1].spare_since
        assert spare_since is not None
        it.fleet.versions["m", 1].spare_since = spare_since - 200
        document = it.desired.config.document()
        document["models"][0]["serve"]["deadline_ms"] = 5000
        (change,) = await it.desired.plan(Config.model_validate(document))
        (step,) = [step for step in change.versions if step.action == "drop"]
        assert step.version == 1
        assert step.after_s is not None
        assert 380 < step.after_s <= 400


async def test_a_rollback_is_planned_from_what_was_served(tmp_path: Path, shared: dict[str, Any]) -> None:
    async with administered(tmp_path, shared) as it:
        await served(it)
        await it.do(SetTraffic(model="m", traffic={"2": 100}))
        await served(it)
        (change,) = await it.administration.plan(RollBack(model="m"))
        assert change.traffic == Traffic({"2": 100}, {"1": 90, "2": 10})


async def test_a_change_that_was_planned_from_an_older_generation_is_a_conflict(
    tmp_path: Path, shared: dict[str, Any]
) -> None:
    async with administered(tmp_path, shared) as it:
        await served(it)
        planned_from = it.desired.number
        await it.do(SetLabels(model="m", labels={"stable": "1"}))

        with pytest.raises(Conflict, match="planned from generation 1, and 2 is the newest"):
            await it.do(SetTraffic(model="m", traffic={"2": 100}, generation=planned_from))
        assert it.desired.number == 2
        await it.do(SetTraffic(model="m", traffic={"2": 100}, generation=2))
        assert it.fleet.table.routes["m"].split == ((2, 100),)


async def test_a_plan_has_the_steps_that_a_rollout_has_still_to_take_and_none_back_to_the_old_version(
    tmp_path: Path, shared: dict[str, Any]
) -> None:
    first, second = ({"name": "m", "source": each["source"], "rollout": {}} for each in shared["versions"])
    async with administered(tmp_path, first) as it:
        await served(it)
        old, new = (it.desired.config.document() | {"models": [each]} for each in (first, second))
        (change,) = await it.desired.plan(Config.model_validate(new))
        assert change.traffic == Traffic({"1": 100}, {"2": 100}, (1, 10, 50, 100))

        await it.desired.apply(Config.model_validate(new))
        await eventually(lambda: it.fleet.table.routes["m"].split == ((1, 99), (2, 1)))
        (change,) = await it.administration.plan(SetLabels(model="m", labels={"next": "2"}))
        assert change.traffic == Traffic({"1": 99, "2": 1}, {"2": 100}, (10, 50, 100))
        (change,) = await it.desired.plan(Config.model_validate(old))
        assert change.traffic == Traffic({"1": 99, "2": 1}, {"1": 100})
        (change,) = await it.administration.plan(SetTraffic(model="m", traffic={"2": 100}))
        assert change.traffic == Traffic({"1": 99, "2": 1}, {"2": 100})
