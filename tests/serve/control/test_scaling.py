"""When replicas come and when they go: loads as gateways report them, on a clock of the test's own."""

from __future__ import annotations

import msgspec
import pytest

from serve.control.fleet import Fleet
from serve.control.scaling import Scaled, Scaler, scaled_versions
from serve.control.wanted import Wanted
from serve.reports import READY, GatewayReport, VersionLoad
from serve.routing import Scaling, ServeOptions, VersionEntry
from tests.serve.tiny_versions import manifest

V1 = ("m", 1)


class Version:
    """A version whose gateways report every second, and which at once has as many replicas as it is to have."""

    def __init__(
        self, replicas: int = 1, *, least: int = 1, most: int = 4, up: float = 1.0, down: float = 10.0
    ) -> None:
        self.scaling = Scaling(least, most, target_rows=2, up_delay_s=up, down_delay_s=down)
        self.replicas = replicas
        self.now = 100.0
        self.busy_s = 0.0
        self.idle_s: float | None = None
        self.scaler = Scaler()

    def report(self, *rows: int, seconds: int = 1, busy: float = 0.0) -> list[int]:
        """The replicas after each of so many seconds in which gateways, one for each of `rows`, have as many rows, and
        in which so many batches run on average."""
        counts = []
        for _ in range(seconds):
            self.now += 1
            self.busy_s += busy
            self.idle_s = 0.0 if any(rows) else None if self.idle_s is None else self.idle_s + 1
            loads = {f"g{i}": VersionLoad(each, self.idle_s, self.busy_s / len(rows)) for i, each in enumerate(rows)}
            counts.append(self.look(loads))
        return counts

    def look(self, loads: dict[str, VersionLoad]) -> int:
        changed = self.scaler.step({V1: Scaled(self.scaling, self.replicas, loads, self.now)})
        self.replicas = changed.get(V1, self.replicas)
        return self.replicas


# -- up --------------------------------------------------------------------------------------------------------------


def test_more_rows_than_meant_for_the_replicas_get_as_many_as_they_need_after_the_delay() -> None:
    assert Version().report(6, seconds=4) == [1, 3, 3, 3]


def test_rows_of_all_gateways_count() -> None:
    assert Version().report(1, 2, 1, seconds=3) == [1, 2, 2]


def test_there_are_never_more_than_allowed() -> None:
    assert Version().report(1000, seconds=3) == [1, 4, 4]


def test_without_a_delay_they_come_at_once() -> None:
    assert Version(up=0.0).report(3) == [2]


def test_a_load_that_is_high_only_now_and_then_adds_none() -> None:
    version = Version(up=2.0)
    for rows in (9, 9, 0, 9, 9, 2, 9, 9, 1):
        assert version.report(rows) == [1]


def test_one_report_is_one_observation_however_often_it_is_looked_at() -> None:
    version = Version(up=0.0)
    version.scaling = msgspec.structs.replace(version.scaling, up_delay_s=1.0)
    version.report(9)
    loads = {"g0": VersionLoad(9, 0.0, 0.0)}
    assert [version.look(loads) for _ in range(20)] == [1] * 20


# -- down ------------------------------------------------------------------------------------------------------------


def test_a_low_load_takes_one_after_another_once_the_delay_is_over() -> None:
    version = Version(4)
    assert version.report(1, seconds=10) == [4] * 10
    assert version.report(1, seconds=8) == [3, 3, 2, 2, 1, 1, 1, 1]


def test_a_load_that_comes_back_begins_the_delay_anew() -> None:
    version = Version(2)
    version.report(1, seconds=9)
    assert version.report(4) == [2]
    assert version.report(1, seconds=10) == [2] * 10
    assert version.report(1) == [1]


def test_no_fewer_stay_than_the_rows_need_or_the_config_says() -> None:
    assert Version(4).report(5, seconds=40)[-1] == 3
    assert Version(4, least=2).report(0, seconds=40)[-1] == 2


def test_a_load_at_the_edge_does_not_make_them_come_and_go() -> None:
    version = Version(2)
    counts = [version.report(rows)[0] for _ in range(30) for rows in (2, 3)]
    assert set(counts) == {2}


def test_replicas_that_are_busy_with_rows_that_do_not_wait_stay() -> None:
    # 2.5 batches run on average: three replicas have time for them, two have not.
    version = Version(4)
    assert version.report(1, seconds=60, busy=2.5)[-1] == 4
    assert version.report(1, seconds=60, busy=2.3)[-1] == 3
    assert version.report(1, seconds=60, busy=0.1)[-1] == 1


def test_the_time_that_a_new_gateway_tells_of_was_not_spent_now() -> None:
    version = Version(2)
    version.report(0)
    for _ in range(10):
        version.now += 1
        version.look({"g0": VersionLoad(0, 1.0, 0.0), "new": VersionLoad(0, 1.0, 5000.0)})
    assert version.replicas == 1


# -- none, and back --------------------------------------------------------------------------------------------------


def test_a_version_that_nobody_calls_for_the_delay_keeps_none() -> None:
    version = Version(least=0)
    assert version.report(1) == [1]
    assert version.report(0, seconds=10) == [1] * 9 + [0]


def test_a_version_that_was_never_called_keeps_none_after_the_delay() -> None:
    assert Version(least=0).report(0, seconds=11) == [1] * 10 + [0]


def test_calls_between_two_reports_count_as_calls() -> None:
    version = Version(least=0)
    version.report(0, seconds=9)
    version.idle_s = 0.2
    assert version.report(0, seconds=10) == [1] * 9 + [0]


def test_several_go_one_by_one_before_the_last() -> None:
    assert Version(3, least=0).report(0, seconds=16) == [3] * 10 + [2, 2, 1, 0, 0, 0]


def test_a_row_that_waits_starts_one_at_once() -> None:
    version = Version(0, least=0)
    assert version.report(0, seconds=3) == [0, 0, 0]
    assert version.report(0, 1) == [1]
    # It is on its way: the row goes on waiting, and no second one is started for it.
    assert version.report(0, 1, seconds=12) == [1] * 12


# -- what is not known -----------------------------------------------------------------------------------------------


def test_without_reports_nothing_changes() -> None:
    version = Version(3, least=0)
    version.now += 1000
    assert version.look({}) == 3


def test_a_new_controller_waits_out_the_delays_again() -> None:
    version = Version(4)
    version.report(1, seconds=9)
    version.scaler = Scaler()
    assert version.report(1, seconds=10) == [4] * 10
    assert version.report(1) == [3]


def test_versions_that_are_ready_and_have_bounds_are_scaled_from_what_gateways_say() -> None:
    fleet = Fleet("./store", 1)
    bounds = Scaling(0, 4, 2, 1.0, 10.0)
    moving = VersionEntry(manifest("m", 1), ServeOptions("replicas", scaling=bounds))
    fixed = VersionEntry(manifest("m", 2), ServeOptions("replicas", replicas=3))
    fleet.want("m", [Wanted(moving, 100), Wanted(fixed, 0)])
    fleet.step(1.0)
    assert scaled_versions(fleet) == {}
    states = {("m", 1): READY, ("m", 2): READY}
    load = VersionLoad(3, 0.5, 7.0)
    fleet.heard.hear_gateway(GatewayReport("a", fleet.table.number, states, {V1: load}), 2.0)
    fleet.heard.hear_gateway(GatewayReport("b", fleet.table.number, states), 2.5)
    fleet.step(2.5)
    assert scaled_versions(fleet) == {V1: Scaled(bounds, 1, {"a": load}, 2.0)}


@pytest.mark.parametrize(("replicas", "within"), [(0, 1), (3, 3), (9, 4)])
def test_bounds_give_the_nearest_number(replicas: int, within: int) -> None:
    assert Scaling(1, 4, 2, 1.0, 10.0).within(replicas) == within
