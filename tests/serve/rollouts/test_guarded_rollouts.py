"""Rollouts by steps with a real store, fleet and gateway; what gateways count, and the clock, are the test's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest

from model_store import generations
from model_store.errors import OnegateError
from model_store.store import Store
from serve.caller import CALLER
from serve.control.history import history
from serve.operations import LoadModel, RollBack, SetLabels, SetTraffic, UnloadModel
from serve.rollouts import records as rollout_records
from serve.rollouts.records import RolloutRecord
from tests.serve.administered import administered
from tests.serve.rollouts.guarded import ROLLOUT, Guarded, guarded, model
from tests.serve.waiting import eventually

# -- forward ---------------------------------------------------------------------------------------------------------


async def test_a_model_without_a_version_begins_with_all_calls(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        assert (it.states(), it.it.desired.rollouts.told()) == ([], [])


async def test_a_good_version_gets_all_calls_step_by_step(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await it.begun(sources[2])
        assert it.states() == [("on", 10)]
        await it.pass_step()
        await it.at((1, 50), (2, 50))
        await it.pass_step()
        await it.at((1, 0), (2, 100))
        assert [await it.it.call("m"), await it.it.call("m", "1")] == [2, 1]
        assert it.served() == [[1]]
        await it.pass_step()
        await it.at((2, 100))
        await eventually(lambda: it.served() == [[1], [2]])
        assert it.states() == [("on", 10), ("on", 50), ("on", 100), ("finished", 100)]
        assert it.it.desired.number == 2


async def test_a_step_takes_its_time_and_its_calls(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await it.begun(sources[2])
        it.count(1, 2000)
        it.count(2, 2000)
        it.now_s += 59
        await it.guarding.look()
        (told,) = it.it.desired.rollouts.told()
        assert (told["percent"], told["reason"]) == (10, "all bounds are kept; the step takes 60 s")
        assert len(told["evidence"]) == 4
        it.now_s += 2
        await it.guarding.look()
        assert it.states() == [("on", 10), ("on", 50)]


async def test_loading_counts_for_no_step(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        it.it.follows = False
        await it.apply(model(sources[2]))
        await eventually(lambda: it.it.desired.rollouts.under_way != {})
        it.now_s += 10_000
        await it.guarding.look()
        it.it.follows = True
        await it.at((1, 90), (2, 10))
        await it.guarding.look()
        await it.guarding.look()
        assert it.states() == [("on", 10)]


async def test_a_version_that_does_not_load_changes_nothing(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        blob = it.it.store.manifest("m", 2).files["model.onnx"].sha256
        (tmp_path / "store" / "blobs" / "sha256" / blob).unlink()
        await it.apply(model(sources[2]))
        await eventually(lambda: ("m", 2) in it.it.fleet.versions and it.it.fleet.versions["m", 2].phase == "FAILED")
        assert await it.it.call("m") == 1


async def test_the_old_version_keeps_its_labels_until_the_end(tmp_path: Path, sources: dict[int, str]) -> None:
    versions = [[{"source": sources[n], "label": "stable", "as_version": "7"}] for n in (1, 2)]
    async with guarded(tmp_path, {"name": "m", "versions": versions[0], "rollout": ROLLOUT}) as it:
        await it.at((1, 100))
        await it.apply({"name": "m", "versions": versions[1], "rollout": ROLLOUT | {"steps": [10, 100]}})
        await it.at((1, 90), (2, 10))
        assert it.it.fleet.table.routes["m"].labels == {"stable": 1}
        assert await it.it.call("m", "7") == 1
        await it.guarding.look()
        await it.pass_step()
        await it.at((1, 0), (2, 100))
        await it.pass_step()
        await it.at((2, 100))
        assert it.it.fleet.table.routes["m"].labels == {"stable": 2}
        assert await it.it.call("m", "7") == 2


async def test_answers_are_compared_where_disagreement_is_bounded(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await it.begun(sources[2], rollout=ROLLOUT | {"max_disagreement": 0.01, "compare_percent": 25})
        assert it.it.fleet.table.routes["m"].shadows == ((2, 25.0),)


async def test_traffic_that_several_share_is_as_it_is_said_at_once(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        versions = [{"version": 1, "traffic": 40}, {"version": 2, "traffic": 60}]
        await it.apply({"name": "m", "versions": versions, "rollout": ROLLOUT})
        await it.at((1, 40), (2, 60))
        assert it.states() == []


async def test_from_several_versions_it_begins_with_the_one_that_answers_most(
    tmp_path: Path, sources: dict[int, str]
) -> None:
    shared = {"name": "m", "versions": [{"version": n, "traffic": t} for n, t in ((1, 20), (2, 50), (3, 30))]}
    async with guarded(tmp_path, shared) as it:
        await it.at((1, 20), (2, 50), (3, 30))
        await it.begun(sources[3], stable=2, canary=3)
        assert it.states() == [("on", 10)]


async def test_traffic_that_is_taken_back_leaves_no_untried_version_with_all_calls(
    tmp_path: Path, sources: dict[int, str]
) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await it.begun(sources[2])
        blob = it.it.store.manifest("m", 3).files["model.onnx"].sha256
        (tmp_path / "store" / "blobs" / "sha256" / blob).unlink()
        with pytest.raises(OnegateError):
            await it.it.do(SetTraffic(model="m", traffic={"3": 100}))
        await it.at((1, 90), (2, 10))
        assert it.states() == [("on", 10), ("stopped", 10), ("on", 10)]


# -- back ------------------------------------------------------------------------------------------------------------


async def test_a_version_that_fails_goes_back_and_desired_state_says_why(
    tmp_path: Path, sources: dict[int, str]
) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.sent_back(sources[2])
        newest = generations.newest(it.it.store)
        assert newest is not None
        assert (newest.number, newest.by) == (3, "guard")
        assert newest.why.startswith("rollback of m to 1: errors: 5% (stable 0%)")
        assert [v.get("version") for v in newest.config["models"][0]["versions"]] == [1]
        assert it.states() == [("on", 10), ("going back", 10), ("went back", 10)]
        assert it.served() == [[1]]
        steps = history(it.it.store, "m").rollouts
        assert [(s.state, s.percent, s.stable, s.canary) for s in steps] == [
            ("went back", 0, 1, 2),
            ("going back", 0, 1, 2),
            ("on", 10, 1, 2),
        ]
        assert [e.verdict for e in steps[1].evidence if e.what == "errors"] == ["past"]


async def test_a_version_that_refuses_what_the_old_one_takes_goes_back_before_its_step_has_ended(
    tmp_path: Path, sources: dict[int, str]
) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await it.begun(sources[2])
        it.count(1, 2000, refused=20)
        it.count(2, 180, refused=20)
        it.now_s += 5
        await it.guarding.look()
        await eventually(lambda: it.it.desired.rollouts.under_way == {})
        await it.at((1, 100))
        newest = generations.newest(it.it.store)
        assert newest is not None
        assert newest.why.startswith("rollback of m to 1: refusals: 10% (stable 0.99%)")


async def test_a_slow_version_goes_back_from_a_later_step(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await eventually(lambda: it.served() == [[1]])
        await it.begun(sources[2])
        await it.pass_step()
        await it.at((1, 50), (2, 50))
        await it.pass_step(ms=12.0)
        await eventually(lambda: it.it.desired.rollouts.under_way == {})
        await it.at((1, 100))
        assert [state for state, _ in it.states()] == ["on", "on", "going back", "went back"]


async def test_a_version_beside_that_does_not_load_keeps_nobody_from_going_back(
    tmp_path: Path, sources: dict[int, str]
) -> None:
    beside = [{"version": 2, "traffic": 100}, {"version": 3, "traffic": 0}]
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await eventually(lambda: it.served() == [[1]])
        await it.begun(sources[2])
        blob = it.it.store.manifest("m", 3).files["model.onnx"].sha256
        (tmp_path / "store" / "blobs" / "sha256" / blob).unlink()
        await it.apply({"name": "m", "versions": beside, "rollout": ROLLOUT})
        await eventually(lambda: ("m", 3) in it.it.fleet.versions and it.it.fleet.versions["m", 3].phase == "FAILED")
        await it.pass_step(failed=400)
        await it.looked_until_over()
        await it.at((1, 100))


async def test_a_store_that_takes_no_record_keeps_no_bad_version(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await eventually(lambda: it.served() == [[1]])
        await it.begun(sources[2])
        folder, aside = tmp_path / "store" / "rollouts" / "m", tmp_path / "aside"
        folder.rename(aside)
        folder.write_text("")
        await it.pass_step(failed=100)
        await it.at((1, 100))
        assert await it.it.call("m") == 1
        folder.unlink()
        aside.rename(folder)
        await it.looked_until_over()
        assert it.states()[-1] == ("went back", 10)


# -- other changes on the way ----------------------------------------------------------------------------------------


async def test_a_newer_version_begins_anew_from_what_answers(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await it.begun(sources[2])
        await it.begun(sources[3], canary=3)
        assert it.states() == [("on", 10), ("replaced", 10), ("on", 10)]
        (told,) = it.it.desired.rollouts.told()
        assert (told["stable"], told["canary"]) == (1, 3)


async def test_the_old_config_applied_again_ends_it(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await it.begun(sources[2])
        await it.apply(model(sources[1]))
        await it.at((1, 100))
        assert it.states() == [("on", 10), ("stopped", 10)]


async def test_other_settings_of_the_model_do_not_disturb_it(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await it.begun(sources[2])
        await it.pass_step()
        await it.apply(model(sources[2], serve={"deadline_ms": 5000}))
        await it.at((1, 50), (2, 50))
        assert it.states() == [("on", 10), ("on", 50)]


async def test_traffic_and_rollback_by_a_person_are_at_once(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await eventually(lambda: it.served() == [[1]])
        await it.begun(sources[2])
        await it.it.do(SetTraffic(model="m", traffic={"2": 100}))
        assert it.states() == [("on", 10), ("stopped", 10)]
        assert it.reasons() == ["begun", "ended by traffic of m: version 2 is to have all traffic at once"]
        assert await it.it.call("m") == 2
        await eventually(lambda: it.served() == [[1], [2]])
        await it.it.do(RollBack(model="m"))
        assert await it.it.call("m") == 1
        assert it.it.desired.rollouts.under_way == {}


async def test_a_rollback_by_a_person_ends_it(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await eventually(lambda: it.served() == [[1]])
        await it.begun(sources[2])
        token = CALLER.set("user:eve")
        await it.it.do(RollBack(model="m"))
        CALLER.reset(token)
        await it.at((1, 100))
        assert it.states() == [("on", 10), ("stopped", 10)]
        assert it.reasons() == ["begun", "ended by rollback of m to 1: version 1 is wanted by now"]
        ended = next(rollout_records.newest_first(it.it.store, "m"))
        assert (ended.ended_by, ended.ended_generation) == ("user:eve", it.it.desired.number)
        assert (ended.by, ended.generation) == ("", 2)


async def test_a_load_returns_when_it_has_begun_and_a_label_leaves_it_on(
    tmp_path: Path, sources: dict[int, str]
) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await it.it.do(LoadModel(model="m", source=sources[2]))
        await it.at((1, 90), (2, 10))
        await it.it.do(SetLabels(model="m", labels={"next": "2"}))
        assert it.it.fleet.table.routes["m"].labels == {"next": 2}
        assert it.states() == [("on", 10)]


async def test_an_unloaded_model_has_no_rollout(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await it.begun(sources[2])
        await it.it.do(UnloadModel(model="m"))
        await eventually(lambda: it.states() == [("on", 10), ("stopped", 10)])
        await it.apply(model(sources[2]))
        await it.at((2, 100))
        assert it.states() == [("on", 10), ("stopped", 10)]


async def test_a_model_that_is_retired_while_its_last_rollout_is_looked_up_does_not_come_back(
    tmp_path: Path, sources: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, let = threading.Event(), threading.Event()

    def slowly(store: Store, name: str) -> Iterator[RolloutRecord]:
        looking.set()
        let.wait(20)
        return iter(())

    monkeypatch.setattr(rollout_records, "newest_first", slowly)
    async with guarded(tmp_path) as guard:
        await guard.apply(model(sources[1]))
        await eventually(looking.is_set)
        await guard.apply()
        let.set()
        async with guard.it.desired.rollouts._turn:  # whoever looked has done
            pass
        assert not guard.it.fleet.wanted("m")
        await guard.apply(model(sources[1]))
        await guard.at((1, 100))


# -- a new controller ------------------------------------------------------------------------------------------------


async def test_a_new_controller_goes_on_with_the_step_of_the_last(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await it.begun(sources[2])
        await it.pass_step()
        await it.at((1, 50), (2, 50))
    async with administered(tmp_path) as later:
        it = Guarded(later, it.now_s, it.seen)
        await it.at((1, 50), (2, 50))
        await it.pass_step()
        await it.at((1, 0), (2, 100))
        await it.pass_step()
        await it.at((2, 100))
        assert [state for state, _ in it.states()] == ["on", "on", "on", "finished"]


async def test_a_new_controller_goes_back_where_the_last_had_begun_to(tmp_path: Path, sources: dict[int, str]) -> None:
    async with guarded(tmp_path, model(sources[1])) as it:
        await it.at((1, 100))
        await eventually(lambda: it.served() == [[1]])
        await it.begun(sources[2])
        it.now_s += 61
        it.count(1, 2000)
        it.count(2, 2000, failed=100)
        # Without the guard, who would take desired state back.
        await it.it.desired.rollouts.judge(deepcopy(it.seen))
        await it.at((1, 100))
        assert it.states()[-1] == ("going back", 10)
    async with administered(tmp_path) as later:
        it = Guarded(later)
        await it.at((1, 100))
        await it.guarding.look()
        await eventually(lambda: it.states()[-1] == ("went back", 10))
        newest = generations.newest(later.store)
        assert newest is not None
        assert newest.by == "guard"
