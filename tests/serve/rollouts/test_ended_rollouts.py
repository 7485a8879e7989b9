"""What is known of rollouts that have ended: the last one of each model, how many in which way, and what is logged."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from serve.cli import main
from serve.operations import LoadModel, SetTraffic, UnloadModel
from serve.rollouts.ended import EndedRollouts
from tests.serve.administered import administered
from tests.serve.management_port import management_port
from tests.serve.rollouts.guarded import Guarded, guarded, model
from tests.serve.waiting import eventually

ERRORS = "errors: 5% (stable 0%), 3.65% to 6.07% more by 2000 calls; bound 1%: past"


def last(it: Guarded) -> dict[str, Any]:
    told = it.it.desired.rollouts.last_told("m")
    assert told is not None
    return told


async def test_a_version_that_was_sent_back_is_told_with_its_evidence(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.sent_back(sources[2])
        told = last(it)
        assert it.it.desired.rollouts.all_last_told() == [told]
        assert told.pop("evidence")[0] == ERRORS
        assert told == {
            "model": "m",
            "stable": 1,
            "canary": 2,
            "state": "went back",
            "began": "1970-01-12T13:46:40+00:00",
            "ended": "1970-01-12T13:47:41+00:00",
            "generation": 2,
            "ended_generation": None,
            "ended_by": "",
            "reason": ERRORS,
            "holds": True,
        }


async def test_a_version_that_is_sent_back_is_logged_once(
    tmp_path: Path, sources: dict[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.sent_back(sources[2])
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert warnings == [f"the guard sends version 2 of m back to version 1: {ERRORS}"]


async def test_with_other_traffic_the_last_one_does_not_hold(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.sent_back(sources[2])
        await it.it.do(SetTraffic(model="m", traffic={"1": 90, "2": 10}))
        assert (last(it)["state"], last(it)["holds"]) == ("went back", False)


async def test_an_apply_that_waits_for_its_rollout_fails_where_somebody_has_ended_it_by_then(
    tmp_path: Path, sources: dict[int, str]
) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await it.begun(sources[2])
        began = it.it.desired.number
        await it.it.do(SetTraffic(model="m", traffic={"1": 100}))
        told = last(it)
        assert (told["generation"], told["ended_generation"]) == (began, began + 1)
        rollouts = it.it.desired.rollouts
        state = {"rollouts": rollouts.told(), "ended_rollouts": rollouts.all_last_told()}
        with management_port() as port:
            port.answers = {"/api/config": {"applied": True, "changes": [], "generation": began}}
            port.answers["/api/state"] = {"models": [], "followed": True} | state
            (tmp_path / "onegate.yaml").write_text("models: []")
            words = ["apply", str(tmp_path / "onegate.yaml"), "--management", port.url, "--wait-rollout"]
            result = await asyncio.to_thread(CliRunner().invoke, main, words)
        assert (result.exit_code, result.stderr.startswith("onegate: m: rollout of version 2 for 1: stopped at ")) == (
            1,
            True,
        )


async def test_while_another_is_under_way_the_last_one_is_not_told(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.sent_back(sources[2])
        await it.begun(sources[3], canary=3)
        assert it.it.desired.rollouts.last_told("m") is None
        assert it.it.desired.rollouts.all_last_told() == []


async def test_a_new_controller_tells_the_last_one_too(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.sent_back(sources[2])
        told = last(it)
    async with administered(tmp_path) as later:
        it = Guarded(later)
        await it.at((1, 100))
        assert last(it) == told


async def test_a_model_that_is_unloaded_has_no_last_one_nor_when_it_is_loaded_again(
    tmp_path: Path, sources: dict[int, str]
) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.sent_back(sources[2])
        await it.it.do(UnloadModel(model="m"))
        assert it.it.desired.rollouts.all_last_told() == []
        await it.it.do(LoadModel(model="m"))
        assert it.it.fleet.is_served("m")
        assert it.it.desired.rollouts.all_last_told() == []
    async with administered(tmp_path) as later:
        it = Guarded(later)
        await it.at((1, 100))
        assert it.it.desired.rollouts.all_last_told() == []


async def test_rollouts_are_counted_by_how_they_ended(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.sent_back(sources[2])
        ended = it.it.desired.rollouts.ended
        assert ended.counts([]) == {("m", "rolled_back"): 1}
        await it.begun(sources[3], canary=3)
        await it.it.do(SetTraffic(model="m", traffic={"1": 100}))
        assert ended.counts(["m"]) == {("m", "finished"): 0, ("m", "rolled_back"): 1, ("m", "stopped"): 1}
        assert (last(it)["state"], last(it)["reason"]) == (
            "stopped",
            "ended by traffic of m: version 1 is wanted by now",
        )


def test_models_with_rollouts_have_zeros_from_the_start() -> None:
    assert EndedRollouts().counts(["m"]) == {("m", "finished"): 0, ("m", "rolled_back"): 0, ("m", "stopped"): 0}


async def test_a_version_that_got_all_calls_has_finished_and_holds(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await it.begun(sources[2])
        for split in (((1, 50), (2, 50)), ((1, 0), (2, 100)), ((2, 100),)):
            await it.pass_step()
            await it.at(*split)
        assert (last(it)["state"], last(it)["holds"]) == ("finished", True)
        assert it.it.desired.rollouts.ended.counts([]) == {("m", "finished"): 1}


async def test_a_version_counts_as_sent_back_though_that_can_not_be_written_down(
    tmp_path: Path, sources: dict[int, str]
) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await eventually(lambda: it.served() == [[1]])
        await it.begun(sources[2])
        (tmp_path / "store" / "rollouts" / "m").rename(tmp_path / "aside")
        (tmp_path / "store" / "rollouts" / "m").write_text("")
        await it.pass_step(failed=100)
        assert it.it.desired.rollouts.ended.counts([]) == {("m", "rolled_back"): 1}
