"""The life of a version: loaded by every gateway, routed, drained, forgotten; gateways are reports here."""

from __future__ import annotations

from typing import Any

import pytest

from serve.fleet import Fleet, Orders, Wanted
from serve.reports import DRAINING, LEASE_S, LOADING, READY, GatewayReport, ReplicaReport
from serve.routing import Batching, ModelRoute, Replica, RoutingTable, VersionKey
from tests.serve.tiny_versions import entry


class Cluster:
    """A fleet, the clock of its controller, and gateways that say what the test has them say."""

    def __init__(self, *gateways: str, number: int = 100) -> None:
        self.fleet = Fleet("./store", number)
        self.now = 0.0
        self.states: dict[str, dict[VersionKey, str]] = {gateway: {} for gateway in gateways}
        self.tables: dict[str, int] = dict.fromkeys(gateways, 0)
        self.silent: set[str] = set()

    def step(self) -> Orders:
        for gateway in self.states.keys() - self.silent:
            report = GatewayReport(gateway, self.tables[gateway], dict(self.states[gateway]))
            self.fleet.hear_gateway(report, self.now)
        return self.fleet.step(self.now)

    def say(self, states: dict[VersionKey, str], *gateways: str) -> Orders:
        """`gateways`, or all, follow the newest table and hold `states`; then the fleet moves."""
        for gateway in gateways or self.states:
            self.tables[gateway] = self.fleet.table.number
            self.states[gateway] = states
        return self.step()

    def phases(self) -> dict[VersionKey, str]:
        return {key: state.phase for key, state in self.fleet.versions.items()}

    def held(self) -> list[VersionKey]:
        return [each.key for each in self.fleet.table.versions]


def wanted(version: int, traffic: int = 100, label: str | None = None, **options: Any) -> Wanted:
    return Wanted(entry("m", version, **options), traffic, label)


def serving(version: int = 1, **options: Any) -> Cluster:
    """One gateway that serves one version."""
    cluster = Cluster("a")
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
    cluster.fleet.want("m", [wanted(1, 90, "stable"), wanted(2, 10, "canary"), wanted(3, 0, "shadow")])
    cluster.step()
    cluster.say({V1: READY, V2: READY, ("m", 3): READY})
    assert cluster.fleet.table.routes == {
        "m": ModelRoute(((1, 90), (2, 10)), {"stable": 1, "canary": 2, "shadow": 3}),
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


def test_replicas_enter_the_table_with_their_heartbeats_and_leave_it_when_they_stop() -> None:
    cluster = serving(1, executor="replicas")
    for name in ("r2", "r1"):
        cluster.fleet.hear_replica(ReplicaReport(replica(name), V1), cluster.now)
    cluster.step()
    assert [each.id for each in cluster.fleet.table.versions[0].replicas] == ["r1", "r2"]
    assert cluster.fleet.replicas_of(V1) == (replica("r1"), replica("r2"))

    cluster.now = 3.0
    cluster.fleet.hear_replica(ReplicaReport(replica("r1"), V1), cluster.now)
    cluster.now = LEASE_S + 0.1
    cluster.step()
    assert [each.id for each in cluster.fleet.table.versions[0].replicas] == ["r1"]
    assert cluster.fleet.table.routes == ROUTE_1


def test_a_replica_that_leaves_is_out_of_the_next_table() -> None:
    cluster = serving(1, executor="replicas")
    cluster.fleet.hear_replica(ReplicaReport(replica("r1"), V1), cluster.now)
    cluster.step()
    number = cluster.fleet.table.number
    cluster.fleet.hear_replica(ReplicaReport(replica("r1"), V1, leaving=True), cluster.now)
    cluster.step()
    assert cluster.fleet.table.number == number + 1
    assert cluster.fleet.table.versions[0].replicas == ()


def test_a_replica_s_failure_fails_the_version_that_loads() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1, executor="replicas")])
    cluster.step()
    cluster.fleet.hear_replica(ReplicaReport(replica("r1"), V1, failure="no memory left"), cluster.now)
    cluster.step()
    assert cluster.phases() == {V1: "FAILED"}
    assert cluster.fleet.table.unavailable == {"m": "no memory left"}


# -- orders ----------------------------------------------------------------------------------------------------------


def test_inline_versions_need_no_orders() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1)])
    assert cluster.step() == Orders()


def test_a_version_on_replicas_is_deployed_once() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1, executor="replicas")])
    orders = cluster.step()
    assert [each.key for each in orders.deploy] == [V1]
    assert orders.delete == []
    assert cluster.step() == Orders()
    assert cluster.say({V1: READY}) == Orders()


def test_limits_that_only_gateways_use_need_no_redeployment() -> None:
    cluster = serving(1, executor="replicas")
    other = Batching(max_delay_ms=5, max_queue=7)
    cluster.fleet.want("m", [wanted(1, executor="replicas", batching=other, deadline_ms=1000)])
    assert cluster.step() == Orders()
    cluster.fleet.want("m", [wanted(1, executor="replicas", batching=Batching(max_batch_size=8))])
    assert [each.key for each in cluster.step().deploy] == [V1]


def test_replicas_are_deleted_when_every_gateway_has_let_the_version_go() -> None:
    cluster = serving(1, executor="replicas")
    cluster.fleet.retire("m")
    assert cluster.step() == Orders()
    assert cluster.say({V1: DRAINING}) == Orders()
    assert cluster.say({}).delete == [V1]
    assert cluster.phases() == {}


def test_the_replicas_of_a_failed_version_are_deleted_once() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1, executor="replicas")])
    cluster.step()
    cluster.fleet.fail(V1, "no memory left")
    assert cluster.step().delete == [V1]
    assert cluster.step() == Orders()


def test_a_version_that_moves_inline_gives_its_replicas_back() -> None:
    cluster = serving(1, executor="replicas")
    cluster.fleet.want("m", [wanted(1)])
    assert cluster.step() == Orders(delete=[V1])
    assert cluster.fleet.table.routes == ROUTE_1


# -- a new controller ------------------------------------------------------------------------------------------------


def earlier(number: int = 50, version: int = 1, executor: str = "inline") -> RoutingTable:
    return RoutingTable(
        number, "./store", (entry("m", version, executor),), {"m": ModelRoute(((version, 100),))}, {"n": "gone"}
    )


def test_a_new_controller_keeps_the_routes_that_gateways_serve() -> None:
    cluster = Cluster("a", number=100)
    cluster.fleet.adopt(earlier())
    cluster.fleet.want("m", [wanted(1)])
    cluster.states["a"] = {V1: READY}
    assert cluster.step() == Orders()
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.table.routes == ROUTE_1
    assert cluster.fleet.table.unavailable == {}
    assert cluster.fleet.table.number > 100


def test_an_adopted_version_answers_until_its_wanted_successor_is_ready() -> None:
    cluster = Cluster("a")
    cluster.fleet.adopt(earlier())
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
    cluster.fleet.adopt(earlier())
    cluster.step()
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.table.routes == ROUTE_1
    assert cluster.fleet.table.unavailable == {}
    cluster.fleet.unavailable["m"] = "outputs differ by 3%"
    cluster.step()
    assert cluster.fleet.table.routes == ROUTE_1


def test_an_adopted_model_that_the_desired_state_does_not_name_is_retired() -> None:
    cluster = Cluster("a")
    cluster.fleet.adopt(earlier())
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
        cluster.fleet.adopt(earlier(number, version=1 if number == 50 else 2))
    assert cluster.fleet.table.routes == ROUTE_2
    assert cluster.fleet.table.number > 100


def test_adopted_replicas_are_not_deployed_again() -> None:
    cluster = Cluster("a")
    cluster.fleet.adopt(earlier(executor="replicas"))
    cluster.fleet.want("m", [wanted(1, executor="replicas")])
    assert cluster.step() == Orders()


def test_an_empty_table_is_not_adopted() -> None:
    cluster = Cluster("a")
    cluster.fleet.adopt(RoutingTable(0, ""))
    assert cluster.fleet.table == RoutingTable(100, "./store")


def test_a_controller_that_has_decided_adopts_no_more() -> None:
    cluster = Cluster("a")
    cluster.step()
    cluster.fleet.adopt(earlier())
    assert cluster.phases() == {}
