"""What a plan says: everything that applying would change, for programs and in lines for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from model_store.errors import ModelNotFound, SourceError
from model_store.manifest import Manifest
from serve.config import Config
from serve.config_sections.model import ModelConfig, VersionConfig
from serve.control.desired import Change, Lookup, Traffic, VersionStep, plan
from serve.control.present import Present
from serve.differences import Difference
from serve.rollouts.figures import Figures
from serve.rollouts.guard import Bounds, Rollout, begin
from tests.serve.tiny_versions import manifest

Stored = Callable[[ModelConfig, VersionConfig], Manifest | None]


def config(*models: dict[str, Any]) -> Config:
    return Config.model_validate({"models": list(models)})


def nothing_stored(model: ModelConfig, version: VersionConfig) -> Manifest | None:
    return None


def stored_as(number: int) -> Stored:
    return lambda model, version: manifest(model.name, number)


def by_number(model: ModelConfig, version: VersionConfig) -> Manifest | None:
    return manifest(model.name, version.version) if version.version else None


def unreadable(source: str) -> Stored:
    """All but that source are version 4."""

    def stored(model: ModelConfig, version: VersionConfig) -> Manifest | None:
        if version.source == source:
            raise SourceError(f"no such file: {source}")
        return manifest(model.name, 4)

    return stored


def changes(
    old: Config | None,
    new: Config,
    stored: Stored,
    loaded: Mapping[str, set[int]] | None = None,
    traffic: Mapping[str, dict[int, int]] | None = None,
    at_once: bool = False,
    **present: Any,
) -> list[Change]:
    lookup = Lookup(ModelConfig.wanted_versions, stored)
    return plan(old, new, Present(loaded or {}, traffic or {}, **present), lookup, at_once=at_once)


DIGITS = {"name": "digits", "source": "/exports/digits.onnx"}
ON_3 = {"digits": {3}}
ALL_ON_3 = {"digits": {3: 100}}


def test_a_new_model_is_added_and_converted() -> None:
    assert changes(None, config(DIGITS), nothing_stored) == [
        Change(
            "digits",
            "add",
            ("/exports/digits.onnx: will be converted to a new version",),
            (),
            (VersionStep("convert", "/exports/digits.onnx"),),
            Traffic({}, {"new": 100}),
        )
    ]


def test_a_new_model_that_the_store_has_already_is_loaded() -> None:
    assert changes(config(), config(DIGITS), stored_as(3)) == [
        Change(
            "digits",
            "add",
            ("/exports/digits.onnx: version 3 of the store will be loaded",),
            (),
            (VersionStep("load", "/exports/digits.onnx", 3),),
            Traffic({}, {"3": 100}),
        )
    ]


def test_a_model_that_serves_as_wanted_is_kept() -> None:
    assert changes(config(DIGITS), config(DIGITS), stored_as(3), ON_3, ALL_ON_3) == [Change("digits", "keep")]


def test_a_version_that_is_only_kept_loaded_is_no_change() -> None:
    assert changes(config(DIGITS), config(DIGITS), stored_as(3), {"digits": {2, 3}}) == [Change("digits", "keep")]


def test_a_model_that_the_new_config_lacks_is_retired() -> None:
    assert changes(config(DIGITS), config(), nothing_stored, ON_3, ALL_ON_3) == [
        Change(
            "digits",
            "retire",
            ("version 3: will be dropped",),
            versions=(VersionStep("drop", "version 3", 3, after_s=0.0),),
            traffic=Traffic({"3": 100}, {}),
        )
    ]


def test_changed_options_are_named_with_old_and_new_value() -> None:
    changed = DIGITS | {"serve": {"cpus": 2, "batching": {"max_delay_ms": 5.0}}}
    assert changes(config(DIGITS), config(changed), stored_as(3), ON_3, ALL_ON_3) == [
        Change(
            "digits",
            "change",
            ("serve.cpus: 1 -> 2", "serve.batching.max_delay_ms: 0 -> 5"),
            (Difference("serve.cpus", 1, 2), Difference("serve.batching.max_delay_ms", 0.0, 5.0)),
            (VersionStep("keep", "/exports/digits.onnx", 3),),
        )
    ]


def test_a_changed_source_is_named_with_what_is_loaded_dropped_and_called() -> None:
    changed = DIGITS | {"source": "/exports/digits-2.onnx"}
    assert changes(config(DIGITS), config(changed), stored_as(4), ON_3, ALL_ON_3) == [
        Change(
            "digits",
            "change",
            (
                "source: /exports/digits.onnx -> /exports/digits-2.onnx",
                "/exports/digits-2.onnx: version 4 of the store will be loaded",
                "version 3: will be dropped",
            ),
            (Difference("source", "/exports/digits.onnx", "/exports/digits-2.onnx"),),
            (VersionStep("load", "/exports/digits-2.onnx", 4), VersionStep("drop", "version 3", 3, after_s=0.0)),
            Traffic({"3": 100}, {"4": 100}),
        )
    ]


def test_a_source_with_new_content_is_a_change_though_the_config_is_the_same() -> None:
    (change,) = changes(config(DIGITS), config(DIGITS), nothing_stored, ON_3, ALL_ON_3)
    assert (change.action, change.differences) == ("change", ())
    assert change.details == (
        "/exports/digits.onnx: will be converted to a new version",
        "version 3: will be dropped",
    )
    assert change.traffic == Traffic({"3": 100}, {"new": 100})


def test_a_version_that_is_kept_for_a_rollback_says_for_how_long() -> None:
    kept = DIGITS | {"keep_previous_s": 600}
    (change,) = changes(config(kept), config(kept | {"source": "/b.onnx"}), stored_as(4), ON_3, ALL_ON_3)
    assert change.details[-1] == "version 3: will be dropped after 600 s"
    assert change.versions[-1] == VersionStep("drop", "version 3", 3, after_s=600.0)


@pytest.mark.parametrize(
    ("spare_s", "left_s", "told"),
    [
        (187.5, 413.0, "version 2: will be dropped after 413 s"),
        (700.0, 0.0, "version 2: will be dropped"),
        (math.inf, 0.0, "version 2: will be dropped"),
    ],
)
def test_a_version_that_is_kept_already_says_for_how_long_it_still_is(spare_s: float, left_s: float, told: str) -> None:
    kept = DIGITS | {"keep_previous_s": 600}
    (change,) = changes(
        *(config(kept), config(kept | {"source": "/b.onnx"}), stored_as(4), {"digits": {2, 3}}, ALL_ON_3),
        spare_s={"digits": {2: spare_s}},
    )
    assert change.details[-2:] == (told, "version 3: will be dropped after 600 s")
    assert [step.after_s for step in change.versions[-2:]] == [left_s, 600.0]


def test_traffic_of_versions_is_told_version_by_version() -> None:
    old = {"name": "m", "versions": [{"version": 1, "traffic": 90}, {"version": 2, "traffic": 10}]}
    new = {"name": "m", "versions": [{"version": 1, "traffic": 50}, {"version": 2, "traffic": 50, "label": "canary"}]}
    (change,) = changes(config(old), config(new), by_number, {"m": {1, 2}}, {"m": {1: 90, 2: 10}})
    assert change.details == (
        "versions[0].traffic: 90 -> 50",
        "versions[1].label: unset -> canary",
        "versions[1].traffic: 10 -> 50",
    )
    assert change.traffic == Traffic({"1": 90, "2": 10}, {"1": 50, "2": 50})
    assert {step.action for step in change.versions} == {"keep"}


def test_a_version_that_comes_or_goes_is_told_whole() -> None:
    one = {"name": "m", "versions": [{"version": 1}]}
    two = {"name": "m", "versions": [{"version": 1}, {"version": 2}]}
    (added,) = changes(config(one), config(two), by_number, {"m": {1}}, {"m": {1: 100}})
    assert added.details == ("versions[1]: unset -> {version: 2}", "version 2: version 2 of the store will be loaded")
    (removed,) = changes(config(two), config(one), by_number, {"m": {1, 2}}, {"m": {1: 100}})
    assert removed.details == ("versions[1]: {version: 2} -> unset", "version 2: will be dropped")


def test_versions_that_come_are_told_apart_in_the_traffic_by_their_places() -> None:
    two = {"name": "m", "versions": [{"source": "/b.onnx", "traffic": 50}, {"source": "/a.onnx", "traffic": 50}]}
    (change,) = changes(None, config(two), nothing_stored)
    assert change.traffic == Traffic({}, {"/b.onnx": 50, "/a.onnx": 50})


def test_the_only_version_that_comes_is_new_in_the_traffic_after_those_with_a_number() -> None:
    two = {"name": "m", "versions": [{"source": "/b.onnx", "traffic": 10}, {"version": 2, "traffic": 90}]}
    (change,) = changes(None, config(two), by_number)
    assert change.traffic is not None
    assert list(change.traffic.after.items()) == [("2", 90), ("new", 10)]


def test_a_version_that_comes_without_traffic_is_not_taken_for_the_one_with_traffic() -> None:
    two = {"name": "m", "versions": [{"source": "/a.onnx"}, {"source": "/b.onnx", "shadow": True}]}
    (change,) = changes(None, config(two), nothing_stored)
    assert change.traffic == Traffic({}, {"/a.onnx": 100})


# -- what would fail -------------------------------------------------------------------------------------------------


def test_a_source_that_can_not_be_read_is_told_and_does_not_end_the_plan() -> None:
    other = {"name": "other", "source": "/exports/other.onnx"}
    first, second = changes(None, config(DIGITS, other), unreadable("/exports/digits.onnx"))
    assert first == Change(
        "digits",
        "fail",
        ("/exports/digits.onnx: no such file: /exports/digits.onnx",),
        versions=(VersionStep("fail", "/exports/digits.onnx", reason="no such file: /exports/digits.onnx"),),
    )
    assert second.details == ("/exports/other.onnx: version 4 of the store will be loaded",)


def test_what_is_served_of_a_model_that_would_fail_goes_on() -> None:
    two = {
        "name": "digits",
        "versions": [{"source": "/gone.onnx", "traffic": 50}, {"source": "/b.onnx", "traffic": 50}],
    }
    (change,) = changes(config(DIGITS), config(two), unreadable("/gone.onnx"), ON_3, ALL_ON_3)
    assert (change.action, change.traffic) == ("fail", None)
    assert change.versions == (
        VersionStep("fail", "/gone.onnx", reason="no such file: /gone.onnx"),
        VersionStep("keep", "version 3", 3),
    )


def test_a_model_whose_config_is_the_same_fails_again() -> None:
    (change,) = changes(config(DIGITS), config(DIGITS), unreadable("/exports/digits.onnx"), ON_3, ALL_ON_3)
    assert (change.action, change.traffic) == ("fail", None)


# -- by steps --------------------------------------------------------------------------------------------------------

GUARDED = DIGITS | {"rollout": {"steps": [1, 50, 100]}}
GUARDED_B = GUARDED | {"source": "/b.onnx"}


def under_way(stable: int, canary: int, step: int = 0) -> dict[str, Rollout]:
    """A rollout of `digits`, as `GUARDED` has it."""
    begun = begin("digits", stable, canary, Bounds(steps=(1, 50, 100)), Figures(), 0.0)
    return {"digits": msgspec.structs.replace(begun, step=step)}


@pytest.mark.parametrize(
    ("keep_s", "told"),
    [
        (0, "version 3: will be dropped after the last step"),
        (60, "version 3: will be dropped 60 s after the last step"),
    ],
)
def test_a_rollout_is_told_with_its_steps_and_when_the_old_version_goes(keep_s: float, told: str) -> None:
    old, new = (config(each | {"keep_previous_s": keep_s}) for each in (GUARDED, GUARDED_B))
    (change,) = changes(old, new, nothing_stored, ON_3, ALL_ON_3)
    assert change.traffic == Traffic({"3": 100}, {"new": 100}, (1, 50, 100))
    assert change.details[-1] == told
    assert change.versions[-1] == VersionStep("drop", "version 3", 3, after_s=float(keep_s), after_rollout=True)


def test_a_rollout_leads_away_from_what_answers_most_and_other_versions_go_at_once() -> None:
    traffic = {"digits": {2: 40, 3: 60}}
    (change,) = changes(config(GUARDED), config(GUARDED_B), stored_as(4), {"digits": {2, 3}}, traffic)
    assert [(step.version, step.after_rollout) for step in change.versions[1:]] == [(2, False), (3, True)]


def test_a_rollout_under_way_leads_away_from_its_old_version_still() -> None:
    (change,) = changes(
        *(config(GUARDED), config(GUARDED_B), stored_as(4), {"digits": {2, 3}}, {"digits": {2: 10, 3: 90}}),
        rollouts=under_way(stable=2, canary=3),
    )
    assert [(step.version, step.after_rollout) for step in change.versions[1:]] == [(2, True), (3, False)]


@pytest.mark.parametrize(
    ("new", "present"),
    [
        (GUARDED_B, {"at_once": True}),
        (GUARDED_B | {"rollout": None}, {}),
        (GUARDED_B, {"traffic": {}}),
        (GUARDED_B, {"traffic": {"digits": {3: 90, 4: 10}}, "rollouts": under_way(stable=4, canary=3)}),
        (
            {"name": "digits", "rollout": {}, "versions": [{"version": n, "traffic": 50} for n in (3, 4)]},
            {"stored": by_number},
        ),
    ],
    ids=["at once", "no rollout", "nothing answers", "back to the old version", "shared out"],
)
def test_traffic_that_moves_at_once_has_no_steps(new: dict[str, Any], present: dict[str, Any]) -> None:
    known = {"stored": stored_as(4), "loaded": ON_3, "traffic": ALL_ON_3} | present
    (change,) = changes(config(GUARDED), config(new), **known)
    assert change.traffic is not None
    assert change.traffic.steps == ()
    assert not any(step.after_rollout for step in change.versions)


@pytest.mark.parametrize(
    ("step", "shares", "steps"),
    [
        (0, {3: 100}, (1, 50, 100)),
        (0, {3: 99, 4: 1}, (50, 100)),
        (1, {3: 99, 4: 1}, (50, 100)),
        (1, {3: 50, 4: 50}, (100,)),
    ],
    ids=["loading", "at 1%", "50% come", "at 50%"],
)
def test_a_rollout_of_the_same_version_goes_on_with_the_steps_that_remain(
    step: int, shares: dict[int, int], steps: tuple[int, ...]
) -> None:
    (change,) = changes(
        *(config(GUARDED_B), config(GUARDED_B | {"keep_previous_s": 60}), stored_as(4), {"digits": {3, 4}}),
        traffic={"digits": shares},
        rollouts=under_way(stable=3, canary=4, step=step),
    )
    assert change.traffic == Traffic({str(version): n for version, n in shares.items()}, {"4": 100}, steps)
    assert [(each.action, each.version, each.after_rollout) for each in change.versions] == [
        ("keep", 4, False),
        ("drop", 3, True),
    ]


def test_a_rollout_at_its_last_step_moves_no_traffic_any_more() -> None:
    (change,) = changes(
        *(config(GUARDED_B), config(GUARDED_B | {"keep_previous_s": 60}), stored_as(4), {"digits": {3, 4}}),
        traffic={"digits": {4: 100}},
        rollouts=under_way(stable=3, canary=4, step=2),
    )
    assert change.traffic is None
    assert change.details[-1] == "version 3: will be dropped 60 s after the last step"


@pytest.mark.parametrize(
    ("new", "stored", "steps"),
    [(GUARDED_B | {"rollout": {"steps": [5, 100]}}, 4, (5, 100)), (GUARDED | {"source": "/c.onnx"}, 5, (1, 50, 100))],
    ids=["other steps", "another version"],
)
def test_a_rollout_that_another_takes_the_place_of_begins_with_the_first_step(
    new: dict[str, Any], stored: int, steps: tuple[int, ...]
) -> None:
    (change,) = changes(
        *(config(GUARDED_B), config(new), stored_as(stored), {"digits": {3, 4}}, {"digits": {3: 50, 4: 50}}),
        rollouts=under_way(stable=3, canary=4, step=1),
    )
    assert change.traffic == Traffic({"3": 50, "4": 50}, {str(stored): 100}, steps)


def test_a_rollout_that_goes_back_goes_on_going_back_though_the_same_version_is_asked_for() -> None:
    (change,) = changes(
        *(config(GUARDED_B), config(GUARDED_B | {"keep_previous_s": 60}), stored_as(4), {"digits": {3, 4}}),
        traffic={"digits": {3: 50, 4: 50}},
        rollouts=under_way(stable=3, canary=4, step=1),
        going_back={"digits"},
    )
    assert change.traffic == Traffic({"3": 50, "4": 50}, {"3": 100})
    assert change.versions == (VersionStep("keep", "/b.onnx", 4), VersionStep("keep", "version 3", 3))
    assert change.details == ("keep_previous_s: 0 -> 60",)


# -- all models ------------------------------------------------------------------------------------------------------


def test_versions_that_the_store_decides_about_are_told_and_so_is_a_store_without_any() -> None:
    def listed(model: ModelConfig) -> list[VersionConfig]:
        if model.name == "empty":
            raise ModelNotFound("the store has none")
        return [VersionConfig(version=1, traffic=0), VersionConfig(version=2, traffic=100)]

    new = config({"name": "m", "versions": "all"}, {"name": "empty", "versions": {"latest": 2}})
    full, empty = plan(None, new, Present(), Lookup(listed, by_number))
    assert [(step.action, step.version) for step in full.versions] == [("load", 1), ("load", 2)]
    assert full.traffic == Traffic({}, {"2": 100})
    assert empty.details == ("versions: the store has none",)


def test_models_are_listed_in_the_new_config_s_order_and_retired_ones_last() -> None:
    names = [{"name": name, "source": f"/exports/{name}"} for name in ("a", "b", "c")]
    found = changes(config(*names), config(names[2], names[1]), stored_as(1), {"b": {1}, "c": {1}})
    assert [(change.model, change.action) for change in found] == [("c", "keep"), ("b", "keep"), ("a", "retire")]
