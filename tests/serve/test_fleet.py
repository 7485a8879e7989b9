"""The life of a version: loaded by every gateway, routed, drained, forgotten; gateways are reports here."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from serve.fleet import Fleet
from serve.reports import DRAINING, IDLE, LEASE_S, LOADING, READY, GatewayReport, ReplicaReport
from serve.routing import Batching, ModelRoute, Replica, RoutingTable, Scaling, ServeOptions, VersionKey
from serve.sticky import Sticky
from serve.wanted import Wanted
from tests.serve.tiny_versions import entry


class Cluster:
    """A fleet, the clock of its controller, and gateways that say what the test has them say."""

    def __init__(self, *gateways: str, number: int = 100) -> None:
        self.fleet = Fleet("./store", number)
        self.now = 0.0
        self.states: dict[str, dict[VersionKey, str]] = {gateway: {} for gateway in gateways}
        self.tables: dict[str, int] = dict.fromkeys(gateways, 0)
        self.silent: set[str] = set()

    def step(self) -> None:
        for gateway in self.states.keys() - self.silent:
            report = GatewayReport(gateway, self.tables[gateway], dict(self.states[gateway]))
            self.fleet.hear_gateway(report, self.now)
        self.fleet.step(self.now)

    def say(self, states: dict[VersionKey, str], *gateways: str) -> None:
        """`gateways`, or all, follow the newest table and hold `states`; then the fleet moves."""
        for gateway in gateways or self.states:
            self.tables[gateway] = self.fleet.table.number
            self.states[gateway] = states
        self.step()

    def phases(self) -> dict[VersionKey, str]:
        return {key: state.phase for key, state in self.fleet.versions.items()}

    def held(self) -> list[VersionKey]:
        return [each.key for each in self.fleet.table.versions]

    def run_as(self) -> list[tuple[str, int]]:
        """Executor and CPUs of the versions that gateways are to hold."""
        return [(each.serve.executor, each.serve.cpus) for each in self.fleet.table.versions]

    def deployed(self) -> dict[VersionKey, tuple[int, int]]:
        """Replicas and CPUs of the versions that are to have replicas."""
        return {key: (each.serve.replicas, each.serve.cpus) for key, each in self.fleet.deployments().items()}


def wanted(version: int, traffic: int = 100, labels: tuple[str, ...] = (), **options: Any) -> Wanted:
    return Wanted(entry("m", version, **options), traffic, labels)


def run_with(executor: str, version: int = 1, *, cpus: int = 1, replicas: int = 1) -> Wanted:
    """A version wanted with all traffic."""
    options = ServeOptions(executor, cpus=cpus, replicas=replicas)
    return Wanted(msgspec.structs.replace(entry("m", version), serve=options), 100)


def serving(version: int = 1, *gateways: str, **options: Any) -> Cluster:
    """Gateways, `a` unless told, that serve one version."""
    cluster = Cluster(*gateways or ("a",))
    cluster.fleet.want("m", [wanted(version, **options)])
    cluster.step()
    cluster.say({("m", version): READY})
    assert cluster.fleet.table.routes == {"m": ModelRoute(((version, 100),))}
    return cluster


V1, V2 = ("m", 1), ("m", 2)
ROUTE_1, ROUTE_2 = {"m": ModelRoute(((1, 100),))}, {"m": ModelRoute(((2, 100),))}


# -- loading ---------------------------------------------------------------------------------------------------------


def test_a_version_is_routed_when_every_gateway_holds_it_ready() -> None:
    cluster = Cluster("a", "b")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}
    assert (cluster.held(), cluster.fleet.table.routes) == ([V1], {})
    assert cluster.fleet.table.unavailable == {"m": "it is loading; try again shortly"}

    cluster.say({V1: LOADING})
    assert cluster.phases() == {V1: "LOADING"}
    cluster.say({V1: READY}, "a")
    assert cluster.phases() == {V1: "LOADING"}
    assert cluster.fleet.table.routes == {}

    cluster.say({V1: READY}, "b")
    assert cluster.phases() == {V1: "READY"}
    assert (cluster.held(), cluster.fleet.table.routes) == ([V1], ROUTE_1)
    assert cluster.fleet.table.unavailable == {}


def test_without_gateways_nothing_gets_ready() -> None:
    cluster = Cluster()
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}


def test_a_gateway_that_never_heard_of_the_version_counts_as_loading() -> None:
    cluster = Cluster("a", "b")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.say({V1: READY}, "a")
    cluster.say({}, "b")
    assert cluster.phases() == {V1: "LOADING"}


def test_traffic_and_labels_make_the_route() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1, 90, ("stable", "old")), wanted(2, 10, ("canary",)), wanted(3, 0)])
    cluster.step()
    cluster.say({V1: READY, V2: READY, ("m", 3): READY})
    assert cluster.fleet.table.routes == {
        "m": ModelRoute(((1, 90), (2, 10)), {"stable": 1, "old": 1, "canary": 2}),
    }


def test_new_shares_of_loaded_versions_are_routed_at_once() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1, 90), wanted(2, 10)])
    cluster.step()
    cluster.say({V1: READY, V2: READY})
    cluster.fleet.want("m", [wanted(1, 50), wanted(2, 50)])
    cluster.step()
    assert cluster.fleet.table.routes == {"m": ModelRoute(((1, 50), (2, 50)))}


def test_a_table_gets_a_number_only_when_something_changed() -> None:
    cluster = serving()
    number = cluster.fleet.table.number
    cluster.step()
    cluster.say({V1: READY})
    assert cluster.fleet.table.number == number
    cluster.fleet.want("m", [wanted(1, batching=Batching(max_queue=5))])
    cluster.step()
    assert cluster.fleet.table.number == number + 1
    assert cluster.fleet.table.versions[0].serve.batching.max_queue == 5
    assert cluster.phases() == {V1: "READY"}


def test_numbers_begin_above_those_of_earlier_controllers() -> None:
    cluster = Cluster("a", number=100)
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.fleet.table.number == 101


# -- from one version to the next ------------------------------------------------------------------------------------


def test_the_old_version_answers_until_the_new_one_is_ready() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2)])
    cluster.step()
    assert cluster.phases() == {V1: "READY", V2: "LOADING"}
    assert (cluster.held(), cluster.fleet.table.routes) == ([V1, V2], ROUTE_1)
    assert cluster.fleet.table.unavailable == {}

    cluster.say({V1: READY, V2: LOADING})
    assert cluster.fleet.table.routes == ROUTE_1

    cluster.say({V1: READY, V2: READY})
    assert cluster.phases() == {V1: "DRAINING", V2: "READY"}
    assert (cluster.held(), cluster.fleet.table.routes) == ([V2], ROUTE_2)


def test_the_old_version_is_forgotten_when_every_gateway_has_let_it_go() -> None:
    cluster = Cluster("a", "b")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.say({V1: READY})
    cluster.fleet.want("m", [wanted(2)])
    cluster.step()
    cluster.say({V1: READY, V2: READY})
    assert cluster.phases() == {V1: "DRAINING", V2: "READY"}

    cluster.say({V2: READY}, "a")
    assert cluster.phases() == {V1: "DRAINING", V2: "READY"}
    cluster.say({V1: DRAINING, V2: READY}, "b")
    assert cluster.phases() == {V1: "DRAINING", V2: "READY"}
    cluster.say({V2: READY}, "b")
    assert cluster.phases() == {V2: "READY"}


def test_a_gateway_that_has_not_taken_over_the_newest_table_keeps_the_old_version_alive() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2)])
    cluster.step()
    cluster.say({V1: READY, V2: READY})
    old_table = cluster.fleet.table.number - 1
    cluster.tables["a"], cluster.states["a"] = old_table, {V2: READY}
    cluster.step()
    assert cluster.phases() == {V1: "DRAINING", V2: "READY"}
    cluster.say({V2: READY})
    assert cluster.phases() == {V2: "READY"}


def test_several_new_versions_take_over_together() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2, 50), wanted(3, 50)])
    cluster.step()
    cluster.say({V1: READY, V2: READY, ("m", 3): LOADING})
    assert cluster.fleet.table.routes == ROUTE_1
    cluster.say({V1: READY, V2: READY, ("m", 3): READY})
    assert cluster.fleet.table.routes == {"m": ModelRoute(((2, 50), (3, 50)))}


def test_a_gateway_that_joins_later_takes_no_route_away() -> None:
    cluster = serving(1)
    cluster.states["late"], cluster.tables["late"] = {}, 0
    cluster.step()
    cluster.say({V1: LOADING}, "late")
    assert cluster.fleet.table.routes == ROUTE_1


# -- failures --------------------------------------------------------------------------------------------------------


def test_a_version_that_can_not_be_loaded_leaves_the_old_one_serving_and_says_why() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2)])
    cluster.step()
    cluster.say({V1: READY, V2: "blob 1a2b differs from its digest"})
    assert cluster.phases() == {V1: "READY", V2: "FAILED"}
    assert cluster.fleet.versions[V2].reason == "blob 1a2b differs from its digest"
    assert (cluster.held(), cluster.fleet.table.routes) == ([V1], ROUTE_1)
    assert cluster.fleet.table.unavailable == {}


def test_the_first_version_s_failure_is_the_model_s_reason() -> None:
    cluster = Cluster("a", "b")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.say({V1: READY}, "a")
    cluster.say({V1: "no memory left"}, "b")
    assert cluster.phases() == {V1: "FAILED"}
    assert (cluster.held(), cluster.fleet.table.routes) == ([], {})
    assert cluster.fleet.table.unavailable == {"m": "no memory left"}


def test_a_failed_version_is_tried_again_when_it_is_wanted_again() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.say({V1: "no memory left"})
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}
    assert cluster.held() == [V1]
    cluster.say({V1: READY})
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.versions[V1].reason is None


def test_a_version_that_fails_and_is_wanted_again_within_a_step_is_loaded_anew() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.say({V1: LOADING})
    number = cluster.fleet.table.number
    cluster.fleet.fail(V1, "Ray Serve refused")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.fleet.table.number == number + 1
    cluster.say({V1: READY})
    assert cluster.phases() == {V1: "READY"}


def test_a_failed_version_that_nobody_wants_any_more_is_forgotten() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2)])
    cluster.step()
    cluster.say({V1: READY, V2: "no memory left"})
    cluster.say({V1: READY})
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.phases() == {V1: "READY", V2: "DRAINING"}
    cluster.say({V1: READY})
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.table.routes == ROUTE_1


def test_a_version_that_serves_does_not_fail_by_a_late_report() -> None:
    cluster = serving(1)
    cluster.fleet.fail(V1, "too late")
    cluster.say({V1: "a replica's trouble"})
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.table.routes == ROUTE_1


def test_a_conversion_that_failed_is_the_reason_of_a_model_without_versions() -> None:
    cluster = Cluster("a")
    cluster.fleet.unavailable["m"] = "outputs differ by 3%"
    cluster.step()
    assert cluster.fleet.table.unavailable == {"m": "outputs differ by 3%"}
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.fleet.table.unavailable == {"m": "it is loading; try again shortly"}


def test_a_conversion_that_failed_leaves_the_old_version_serving() -> None:
    cluster = serving(1)
    cluster.fleet.unavailable["m"] = "outputs differ by 3%"
    cluster.step()
    assert cluster.fleet.table.routes == ROUTE_1
    assert cluster.fleet.table.unavailable == {}


# -- from one way of running to another ------------------------------------------------------------------------------


def test_a_change_of_executor_is_done_when_every_gateway_says_so_of_the_new_table() -> None:
    cluster = serving(1, "a", "b")
    cluster.fleet.want("m", [run_with("replicas")])
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}
    assert (cluster.run_as(), cluster.fleet.table.routes) == ([("replicas", 1)], ROUTE_1)
    assert cluster.fleet.table.unavailable == {}
    # What both gateways still say of the old table, `ready`, is about the old executor.
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}

    cluster.say({V1: LOADING}, "a", "b")
    assert (cluster.phases(), cluster.fleet.table.routes) == ({V1: "LOADING"}, ROUTE_1)
    cluster.say({V1: READY}, "a")
    assert cluster.phases() == {V1: "LOADING"}
    assert cluster.fleet.versions[V1].fallback == entry("m", 1)
    cluster.say({V1: READY}, "b")
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.versions[V1].fallback is None
    assert (cluster.run_as(), cluster.fleet.table.routes) == ([("replicas", 1)], ROUTE_1)


def test_a_change_that_fails_leaves_the_version_as_it_was_and_says_why() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [run_with("replicas")])
    cluster.step()
    cluster.say({V1: LOADING})
    number = cluster.fleet.table.number
    cluster.fleet.hear_replica(report("r1", failure="no memory left"), cluster.now)
    cluster.step()
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.versions[V1].reason == "no memory left"
    assert (cluster.run_as(), cluster.fleet.table.routes) == ([("inline", 1)], ROUTE_1)
    assert (cluster.fleet.table.number, cluster.fleet.table.unavailable) == (number + 1, {})
    assert cluster.deployed() == {}
    cluster.say({V1: "no memory left"})
    assert cluster.phases() == {V1: "READY"}


def test_a_gateway_that_can_not_make_the_change_makes_all_fall_back() -> None:
    cluster = serving(1, "a", "b", executor="replicas")
    cluster.fleet.want("m", [run_with("inline")])
    cluster.step()
    cluster.say({V1: READY}, "a")
    cluster.say({V1: "blob 1a2b differs from its digest"}, "b")
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.versions[V1].reason == "blob 1a2b differs from its digest"
    assert (cluster.run_as(), cluster.deployed()) == ([("replicas", 1)], {V1: (1, 1)})


def test_a_change_that_failed_is_tried_again_when_it_is_wanted_again() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [run_with("replicas")])
    cluster.step()
    cluster.fleet.fail(V1, "no memory left")
    cluster.step()
    cluster.fleet.want("m", [run_with("replicas")])
    cluster.step()
    assert (cluster.phases(), cluster.fleet.versions[V1].reason) == ({V1: "LOADING"}, None)
    cluster.say({V1: READY})
    assert (cluster.phases(), cluster.run_as()) == ({V1: "READY"}, [("replicas", 1)])


def test_a_change_of_a_change_falls_back_to_what_answered_last() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [run_with("replicas")])
    cluster.step()
    cluster.fleet.want("m", [run_with("replicas", cpus=4)])
    cluster.step()
    assert cluster.run_as() == [("replicas", 4)]
    cluster.fleet.fail(V1, "no node has 4 CPUs")
    cluster.step()
    assert (cluster.phases(), cluster.run_as()) == ({V1: "READY"}, [("inline", 1)])


def test_another_number_of_replicas_needs_no_loading() -> None:
    cluster = serving(1, executor="replicas")
    number = cluster.fleet.table.number
    cluster.fleet.want("m", [run_with("replicas", replicas=3)])
    cluster.step()
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.table.number == number + 1
    assert cluster.deployed() == {V1: (3, 1)}


# -- retiring --------------------------------------------------------------------------------------------------------


def test_a_retired_model_loses_its_route_at_once_and_is_forgotten_when_drained() -> None:
    cluster = serving(1)
    cluster.fleet.retire("m")
    cluster.step()
    assert cluster.phases() == {V1: "DRAINING"}
    assert (cluster.held(), cluster.fleet.table.routes, cluster.fleet.table.unavailable) == ([], {}, {})
    cluster.say({V1: DRAINING})
    assert cluster.phases() == {V1: "DRAINING"}
    cluster.say({})
    assert cluster.phases() == {}


def test_a_version_wanted_again_while_it_drains_begins_a_new_life() -> None:
    cluster = serving(1)
    cluster.fleet.retire("m")
    cluster.step()
    cluster.say({V1: DRAINING})
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}
    assert cluster.held() == [V1]
    cluster.say({V1: READY})
    assert cluster.fleet.table.routes == ROUTE_1


@pytest.mark.parametrize("said", [READY, "no memory left"])
def test_reports_about_an_earlier_life_are_ignored(said: str) -> None:
    cluster = serving(1)
    cluster.fleet.retire("m")
    cluster.step()
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.tables["a"] = cluster.fleet.table.number - 1
    cluster.states["a"] = {V1: said}
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}
    cluster.say({V1: READY})
    assert cluster.phases() == {V1: "READY"}


# -- heartbeats ------------------------------------------------------------------------------------------------------


def test_a_silent_gateway_is_dropped_after_its_lease() -> None:
    cluster = Cluster("a", "b")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.silent = {"b"}
    cluster.say({V1: READY}, "a")
    cluster.now = LEASE_S
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}
    cluster.now = LEASE_S + 0.1
    cluster.step()
    assert cluster.phases() == {V1: "READY"}


def test_a_gateway_that_said_goodbye_is_waited_for_no_longer() -> None:
    cluster = Cluster("a", "b")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.say({V1: READY}, "a")
    cluster.silent = {"b"}
    cluster.fleet.forget_gateway("b")
    cluster.step()
    assert cluster.phases() == {V1: "READY"}


def replica(name: str) -> Replica:
    return Replica(name, "node", f"unix-abstract:{name}", "127.0.0.1:1")


def report(name: str, deployment: str = "m-1/1/64", version: int = 1, **said: Any) -> ReplicaReport:
    return ReplicaReport(replica(name), ("m", version), deployment, **said)


def test_replicas_enter_the_table_with_their_heartbeats_and_leave_it_when_they_stop() -> None:
    cluster = serving(1, executor="replicas")
    for name in ("r2", "r1"):
        cluster.fleet.hear_replica(report(name), cluster.now)
    cluster.step()
    assert [each.id for each in cluster.fleet.table.versions[0].replicas] == ["r1", "r2"]
    assert cluster.fleet.replicas_of(V1) == (replica("r1"), replica("r2"))

    cluster.now = 3.0
    cluster.fleet.hear_replica(report("r1"), cluster.now)
    cluster.now = LEASE_S + 0.1
    cluster.step()
    assert [each.id for each in cluster.fleet.table.versions[0].replicas] == ["r1"]
    assert cluster.fleet.table.routes == ROUTE_1


def test_a_replica_that_leaves_is_out_of_the_next_table() -> None:
    cluster = serving(1, executor="replicas")
    cluster.fleet.hear_replica(report("r1"), cluster.now)
    cluster.step()
    number = cluster.fleet.table.number
    cluster.fleet.hear_replica(report("r1", leaving=True), cluster.now)
    cluster.step()
    assert cluster.fleet.table.number == number + 1
    assert cluster.fleet.table.versions[0].replicas == ()


def test_a_replica_s_failure_fails_the_version_that_loads() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1, executor="replicas")])
    cluster.step()
    cluster.fleet.hear_replica(report("r1", failure="no memory left"), cluster.now)
    cluster.step()
    assert cluster.phases() == {V1: "FAILED"}
    assert cluster.fleet.table.unavailable == {"m": "no memory left"}


def test_the_reports_of_live_replicas_tell_as_what_they_were_deployed() -> None:
    cluster = Cluster("a")
    cluster.fleet.hear_replica(report("r1", "m-1/1/64"), 0.0)
    cluster.fleet.hear_replica(report("r2", "m-1/2/64"), 3.0)
    cluster.fleet.hear_replica(report("r3", "m-2/1/64", 2), 3.0)
    assert cluster.fleet.deployments_of(V1) == {"m-1/1/64", "m-1/2/64"}
    assert cluster.fleet.deployments_of(V2) == {"m-2/1/64"}
    cluster.now = LEASE_S + 0.1
    cluster.step()
    assert cluster.fleet.deployments_of(V1) == {"m-1/2/64"}
    cluster.fleet.hear_replica(report("r2", leaving=True), cluster.now)
    assert cluster.fleet.deployments_of(V1) == set()


# -- replicas that are needed ----------------------------------------------------------------------------------------


def test_inline_versions_need_no_replicas() -> None:
    assert serving(1).deployed() == {}


def test_a_version_on_replicas_needs_them_from_when_it_is_wanted() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [run_with("replicas", replicas=2, cpus=3)])
    assert cluster.deployed() == {V1: (2, 3)}
    cluster.step()
    cluster.say({V1: READY})
    assert cluster.deployed() == {V1: (2, 3)}


def test_replicas_are_needed_until_every_gateway_has_let_the_version_go() -> None:
    cluster = serving(1, executor="replicas")
    cluster.fleet.retire("m")
    cluster.step()
    assert cluster.deployed() == {V1: (1, 1)}
    cluster.say({V1: DRAINING})
    assert cluster.deployed() == {V1: (1, 1)}
    cluster.say({})
    assert (cluster.phases(), cluster.deployed()) == ({}, {})


def test_a_failed_version_needs_no_replicas() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [run_with("replicas")])
    cluster.step()
    cluster.fleet.fail(V1, "no memory left")
    assert cluster.deployed() == {}
    cluster.step()
    assert cluster.deployed() == {}


def test_a_version_that_moves_inline_keeps_its_replicas_until_the_change_is_done() -> None:
    cluster = serving(1, "a", "b", executor="replicas")
    cluster.fleet.want("m", [run_with("inline")])
    cluster.step()
    assert cluster.deployed() == {V1: (1, 1)}
    cluster.say({V1: READY}, "a")
    assert cluster.deployed() == {V1: (1, 1)}
    cluster.say({V1: READY}, "b")
    assert cluster.deployed() == {}
    assert cluster.fleet.table.routes == ROUTE_1


def test_a_version_that_drains_in_the_middle_of_a_change_keeps_its_replicas_until_it_is_drained() -> None:
    cluster = serving(1, executor="replicas")
    cluster.fleet.want("m", [run_with("inline")])
    cluster.step()
    cluster.fleet.retire("m")
    cluster.step()
    assert (cluster.phases(), cluster.deployed()) == ({V1: "DRAINING"}, {V1: (1, 1)})
    cluster.say({})
    assert (cluster.phases(), cluster.deployed()) == ({}, {})


def test_while_the_replicas_of_a_version_change_the_new_ones_are_needed() -> None:
    cluster = serving(1, executor="replicas")
    cluster.fleet.want("m", [run_with("replicas", cpus=2)])
    cluster.step()
    assert (cluster.phases(), cluster.deployed()) == ({V1: "LOADING"}, {V1: (1, 2)})
    cluster.fleet.fail(V1, "no node has 2 CPUs")
    assert (cluster.phases(), cluster.deployed()) == ({V1: "READY"}, {V1: (1, 1)})


# -- shadows ----------------------------------------------------------------------------------------------------------


def test_a_shadow_is_in_the_route_without_a_share_of_it() -> None:
    cluster = Cluster("a")
    sticky = Sticky("x-user")
    shadow = Wanted(entry("m", 2), 0, shadow_percent=25.0, sticky=sticky)
    cluster.fleet.want("m", [Wanted(entry("m", 1), 100, sticky=sticky), shadow])
    cluster.step()
    cluster.say({V1: READY})
    assert cluster.fleet.table.routes == {}
    cluster.say({V1: READY, V2: READY})
    assert cluster.fleet.table.routes == {"m": ModelRoute(((1, 100),), shadows=((2, 25.0),), sticky=sticky)}


def test_a_shadow_that_is_no_longer_wanted_drains_after_its_route() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1), Wanted(entry("m", 2), 0, shadow_percent=100.0)])
    cluster.step()
    cluster.say({V1: READY, V2: READY})
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.fleet.table.routes == ROUTE_1
    assert cluster.phases() == {V1: "READY", V2: "DRAINING"}


def test_an_adopted_route_keeps_its_shadow_until_the_model_is_prepared() -> None:
    cluster = Cluster("a")
    route = ModelRoute(((1, 100),), shadows=((2, 100.0),))
    cluster.fleet.name("m")
    adopt(cluster, RoutingTable(50, "./store", (entry("m", 1), entry("m", 2)), {"m": route}), V1, V2)
    cluster.states["a"] = {V1: READY, V2: READY}
    cluster.step()
    assert cluster.fleet.table.routes == {"m": route}
    assert cluster.phases() == {V1: "READY", V2: "READY"}


# -- a new controller ------------------------------------------------------------------------------------------------


def earlier(number: int = 50, version: int = 1, executor: str = "inline") -> RoutingTable:
    return RoutingTable(
        number, "./store", (entry("m", version, executor),), {"m": ModelRoute(((version, 100),))}, {"n": "gone"}
    )


def adopt(cluster: Cluster, table: RoutingTable, *ready: VersionKey) -> None:
    """A gateway tells a new controller its table, and which versions of it are ready there."""
    cluster.fleet.adopt(table, GatewayReport("a", table.number, dict.fromkeys(ready, READY)))


def test_a_new_controller_keeps_the_routes_that_gateways_serve() -> None:
    cluster = Cluster("a", number=100)
    adopt(cluster, earlier(), V1)
    cluster.fleet.want("m", [wanted(1)])
    cluster.states["a"] = {V1: READY}
    cluster.step()
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.table.routes == ROUTE_1
    assert cluster.fleet.table.unavailable == {}
    assert cluster.fleet.table.number > 100


def test_an_adopted_version_answers_until_its_wanted_successor_is_ready() -> None:
    cluster = Cluster("a")
    adopt(cluster, earlier(), V1)
    cluster.fleet.want("m", [wanted(2)])
    cluster.step()
    assert cluster.phases() == {V1: "READY", V2: "LOADING"}
    assert cluster.fleet.table.routes == ROUTE_1
    cluster.say({V1: READY, V2: READY})
    assert cluster.fleet.table.routes == ROUTE_2


def test_an_adopted_version_answers_while_its_model_is_still_prepared() -> None:
    cluster = Cluster("a")
    cluster.fleet.name("m")
    cluster.fleet.unavailable["m"] = "it is being prepared; try again shortly"
    adopt(cluster, earlier(), V1)
    cluster.step()
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.table.routes == ROUTE_1
    assert cluster.fleet.table.unavailable == {}
    cluster.fleet.unavailable["m"] = "outputs differ by 3%"
    cluster.step()
    assert cluster.fleet.table.routes == ROUTE_1


def test_an_adopted_model_that_the_desired_state_does_not_name_is_retired() -> None:
    cluster = Cluster("a")
    adopt(cluster, earlier(), V1)
    cluster.states["a"] = {V1: READY}
    cluster.step()
    assert cluster.phases() == {V1: "DRAINING"}
    assert cluster.fleet.table.routes == {}
    cluster.say({})
    assert cluster.phases() == {}


@pytest.mark.parametrize("numbers", [(50, 51), (51, 50)])
def test_of_several_gateways_tables_the_newest_is_adopted(numbers: tuple[int, int]) -> None:
    cluster = Cluster("a", "b")
    for number in numbers:
        adopt(cluster, earlier(number, version=1 if number == 50 else 2))
    assert cluster.fleet.table.routes == ROUTE_2
    assert cluster.fleet.table.number > 100


def test_adopted_replicas_are_not_deployed_again() -> None:
    cluster = Cluster("a")
    adopt(cluster, earlier(executor="replicas"), V1)
    cluster.fleet.want("m", [wanted(1, executor="replicas")])
    cluster.step()
    assert cluster.phases() == {V1: "READY"}
    assert cluster.deployed() == {V1: (1, 1)}


@pytest.mark.parametrize("said", [None, LOADING, "no memory left"])
def test_what_is_not_ready_yet_is_adopted_as_loading(said: str | None) -> None:
    cluster = Cluster("a")
    cluster.fleet.name("m")
    states = {} if said is None else {V1: said}
    cluster.fleet.adopt(earlier(), GatewayReport("a", 50, states))
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}
    assert (cluster.held(), cluster.fleet.table.routes) == ([V1], ROUTE_1)
    cluster.say({V1: READY})
    assert cluster.phases() == {V1: "READY"}


def test_an_adopted_route_ends_when_all_that_it_leads_to_has_failed() -> None:
    cluster = Cluster("a")
    adopt(cluster, earlier())
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.fleet.table.routes == ROUTE_1
    cluster.say({V1: "no memory left"})
    assert (cluster.phases(), cluster.held()) == ({V1: "FAILED"}, [])
    assert (cluster.fleet.table.routes, cluster.fleet.table.unavailable) == ({}, {"m": "no memory left"})


def test_nothing_of_a_model_that_is_still_prepared_is_drained() -> None:
    cluster = Cluster("a")
    cluster.fleet.name("m")
    # Version 2 was loading when the earlier controller ended, on its way to take over.
    table = RoutingTable(50, "./store", (entry("m", 1), entry("m", 2, "replicas")), ROUTE_1)
    adopt(cluster, table, V1)
    cluster.step()
    cluster.say({V1: READY, V2: LOADING})
    assert cluster.phases() == {V1: "READY", V2: "LOADING"}
    assert (cluster.held(), cluster.deployed()) == ([V1, V2], {V2: (1, 1)})
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.phases() == {V1: "READY", V2: "DRAINING"}


def test_an_adopted_version_that_is_wanted_otherwise_falls_back_to_what_it_was() -> None:
    cluster = Cluster("a")
    adopt(cluster, earlier(), V1)
    cluster.fleet.want("m", [run_with("replicas")])
    cluster.step()
    assert (cluster.phases(), cluster.run_as()) == ({V1: "LOADING"}, [("replicas", 1)])
    assert cluster.fleet.table.routes == ROUTE_1
    cluster.fleet.fail(V1, "no memory left")
    cluster.step()
    assert (cluster.phases(), cluster.run_as()) == ({V1: "READY"}, [("inline", 1)])


def test_an_empty_table_is_not_adopted() -> None:
    cluster = Cluster("a")
    adopt(cluster, RoutingTable(0, ""))
    assert cluster.fleet.table == RoutingTable(100, "./store")


def test_a_controller_that_has_decided_adopts_no_more() -> None:
    cluster = Cluster("a")
    cluster.step()
    adopt(cluster, earlier(), V1)
    assert cluster.phases() == {}


# -- a number of replicas that moves, and versions that are not loaded -------------------------------------------------


def moving(replicas: int = 1, *, least: int = 0, most: int = 4, cpus: int = 1) -> Wanted:
    """A version wanted with bounds, as the config says it: with the number that it begins with."""
    scaling = Scaling(least, most, 2, 1.0, 10.0)
    options = ServeOptions("replicas", cpus=cpus, replicas=replicas, scaling=scaling)
    return Wanted(msgspec.structs.replace(entry("m", 1), serve=options), 100)


def scaled_cluster(replicas: int) -> Cluster:
    """A version that is ready and has so many replicas."""
    cluster = Cluster("a")
    cluster.fleet.want("m", [moving()])
    cluster.step()
    cluster.say({V1: READY})
    cluster.fleet.scale(V1, replicas)
    cluster.step()
    return cluster


def test_a_version_that_is_scaled_to_none_is_ready_and_routed_to() -> None:
    cluster = scaled_cluster(0)
    assert (cluster.phases(), cluster.fleet.table.routes) == ({V1: "READY"}, ROUTE_1)
    assert cluster.deployed() == {V1: (0, 1)}
    assert [each.serve.replicas for each in cluster.fleet.table.versions] == [0]
    assert cluster.fleet.is_idle(V1)
    cluster.fleet.scale(V1, 1)
    assert not cluster.fleet.is_idle(V1)


def test_a_new_number_makes_a_new_table_so_that_a_new_controller_finds_it() -> None:
    cluster = scaled_cluster(3)
    heir = Cluster("a", number=200)
    heir.fleet.adopt(cluster.fleet.table, GatewayReport("a", cluster.fleet.table.number, {V1: READY}))
    heir.fleet.want("m", [moving()])
    assert heir.deployed() == {V1: (3, 1)}


def test_a_new_controller_finds_a_version_without_replicas_ready() -> None:
    cluster = scaled_cluster(0)
    heir = Cluster("a", number=200)
    heir.fleet.adopt(cluster.fleet.table, GatewayReport("a", cluster.fleet.table.number, {V1: READY}))
    heir.fleet.want("m", [moving()])
    heir.say({V1: READY})
    assert (heir.phases(), heir.deployed()) == ({V1: "READY"}, {V1: (0, 1)})


@pytest.mark.parametrize(("least", "most", "replicas"), [(0, 4, 3), (0, 2, 2), (4, 8, 4)])
def test_a_config_with_other_bounds_keeps_the_number_as_far_as_they_admit_it(
    least: int, most: int, replicas: int
) -> None:
    cluster = scaled_cluster(3)
    cluster.fleet.want("m", [moving(max(least, 1), least=least, most=most)])
    assert cluster.deployed() == {V1: (replicas, 1)}


def test_a_version_without_replicas_that_is_run_differently_is_proven_with_one() -> None:
    cluster = scaled_cluster(0)
    cluster.fleet.want("m", [moving(cpus=2)])
    assert (cluster.phases(), cluster.deployed()) == ({V1: "LOADING"}, {V1: (1, 2)})


def test_a_config_with_one_number_ends_the_moving() -> None:
    cluster = scaled_cluster(0)
    cluster.fleet.want("m", [run_with("replicas", replicas=2)])
    cluster.step()
    assert (cluster.phases(), cluster.deployed()) == ({V1: "READY"}, {V1: (2, 1)})


def test_a_version_that_a_gateway_has_unloaded_is_ready_and_idle_when_all_have() -> None:
    cluster = Cluster("a", "b")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.say({V1: IDLE}, "a")
    assert cluster.phases() == {V1: "LOADING"}
    cluster.say({V1: READY}, "b")
    assert (cluster.phases(), cluster.fleet.table.routes) == ({V1: "READY"}, ROUTE_1)
    assert not cluster.fleet.is_idle(V1)
    cluster.say({V1: IDLE}, "b")
    assert (cluster.phases(), cluster.fleet.is_idle(V1)) == ({V1: "READY"}, True)


def test_a_new_controller_finds_an_unloaded_version_ready() -> None:
    cluster = serving(1)
    heir = Cluster("a", number=200)
    heir.fleet.adopt(cluster.fleet.table, GatewayReport("a", cluster.fleet.table.number, {V1: IDLE}))
    assert heir.phases() == {V1: "READY"}


def test_a_ready_version_whose_replica_can_not_start_tells_why_until_one_does() -> None:
    cluster = scaled_cluster(1)
    replica = Replica("r", "node", "unix-abstract:r", "127.0.0.1:1")
    cluster.fleet.hear_replica(ReplicaReport(replica, V1, "m-1/1/64", failure="StoreError: the store is away"), 0.0)
    cluster.step()
    assert (cluster.phases(), cluster.fleet.versions[V1].reason) == ({V1: "READY"}, "the store is away")
    cluster.fleet.hear_replica(ReplicaReport(replica, V1, "m-1/1/64"), 0.0)
    cluster.step()
    assert cluster.fleet.versions[V1].reason is None


def test_a_version_with_no_replica_to_lose_tells_of_none() -> None:
    cluster = scaled_cluster(1)
    lost = ReplicaReport(replica("r"), V1, "m-1/1/64", failure="StoreError: the store is away")
    cluster.fleet.hear_replica(lost, 0.0)
    cluster.fleet.scale(V1, 0)
    assert cluster.fleet.versions[V1].reason is None
    cluster.fleet.hear_replica(lost, 0.0)
    assert cluster.fleet.versions[V1].reason is None


def test_a_new_controller_goes_back_to_how_a_version_ran_when_the_change_fails() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [run_with("inline", cpus=2)])
    cluster.step()
    cluster.say({V1: LOADING})
    heir = Cluster("a", number=1000)
    heir.fleet.adopt(cluster.fleet.table, GatewayReport("a", cluster.fleet.table.number, {V1: LOADING}))
    heir.fleet.want("m", [run_with("inline", cpus=2)])
    heir.step()
    heir.say({V1: "no memory left"})
    assert (heir.phases(), heir.fleet.table.routes) == ({V1: "READY"}, ROUTE_1)
    assert heir.run_as() == [("inline", 1)]


# -- kept for a rollback ---------------------------------------------------------------------------------------------


def replaced(keep_previous_s: float) -> Cluster:
    """A cluster that serves version 2, which has just replaced version 1."""
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2)], keep_previous_s)
    cluster.step()
    cluster.say({V1: READY, V2: READY})
    assert cluster.fleet.table.routes == ROUTE_2
    return cluster


def test_a_replaced_version_drains_at_once_unless_somebody_wants_it_kept() -> None:
    assert replaced(0.0).phases() == {V1: "DRAINING", V2: "READY"}


def test_a_replaced_version_stays_loaded_for_as_long_as_it_is_to_be_kept() -> None:
    cluster = replaced(60.0)
    cluster.now = 59.0
    cluster.say({V1: READY, V2: READY})
    assert (cluster.phases(), cluster.held()) == ({V1: "READY", V2: "READY"}, [V1, V2])
    cluster.now = 60.0
    cluster.step()
    assert (cluster.phases(), cluster.held()) == ({V1: "DRAINING", V2: "READY"}, [V2])


def test_a_version_without_traffic_stays_until_what_comes_in_its_place_is_ready() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1, 0), wanted(2, 100)])
    cluster.step()
    cluster.say({V1: READY, V2: READY})
    cluster.fleet.want("m", [wanted(2, 0), wanted(3, 100)])
    cluster.step()
    cluster.say({V1: READY, V2: READY, ("m", 3): LOADING})
    assert cluster.held() == [V1, V2, ("m", 3)]
    cluster.say({V1: READY, V2: READY, ("m", 3): READY})
    assert (cluster.held(), cluster.fleet.table.routes) == ([V2, ("m", 3)], {"m": ModelRoute(((3, 100),))})


def test_a_kept_version_is_routed_to_in_one_step() -> None:
    cluster = replaced(60.0)
    cluster.fleet.want("m", [wanted(1)], 60.0)
    cluster.step()
    assert (cluster.fleet.table.routes, cluster.phases()) == (ROUTE_1, {V1: "READY", V2: "READY"})
    cluster.now = 61.0
    cluster.say({V1: READY, V2: READY})
    assert cluster.phases() == {V1: "READY", V2: "DRAINING"}


def test_a_kept_version_that_is_released_drains() -> None:
    cluster = replaced(60.0)
    cluster.fleet.release("m")
    cluster.step()
    assert cluster.phases() == {V1: "DRAINING", V2: "READY"}


def test_a_retired_model_keeps_nothing() -> None:
    cluster = replaced(60.0)
    cluster.fleet.retire("m")
    cluster.step()
    assert cluster.phases() == {V1: "DRAINING", V2: "DRAINING"}


def test_a_version_that_failed_is_not_kept() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2)], 60.0)
    cluster.step()
    cluster.say({V1: READY, V2: "it is damaged"})
    cluster.fleet.want("m", [wanted(1)], 60.0)
    cluster.step()
    assert cluster.phases() == {V1: "READY", V2: "DRAINING"}


def test_a_model_is_served_when_its_route_leads_to_what_is_wanted() -> None:
    cluster = serving(1)
    assert cluster.fleet.is_served("m")
    assert not cluster.fleet.is_served("other")
    cluster.fleet.want("m", [wanted(2)])
    assert not cluster.fleet.is_served("m")
    cluster.step()
    cluster.say({V1: READY, V2: LOADING})
    assert not cluster.fleet.is_served("m")
    cluster.say({V1: READY, V2: READY})
    assert cluster.fleet.is_served("m")


def test_a_model_whose_change_of_traffic_has_not_reached_the_route_is_not_served() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(1, labels=("stable",))])
    assert not cluster.fleet.is_served("m")
    cluster.step()
    assert cluster.fleet.is_served("m")
