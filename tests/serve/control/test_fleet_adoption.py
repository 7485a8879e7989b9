"""What a new controller takes over from gateways."""

from __future__ import annotations

import pytest

from serve.reports import LOADING, READY, TROUBLE, GatewayReport
from serve.routing import RoutingTable
from tests.serve.clusters import ROUTE_1, ROUTE_2, V1, V2, Cluster, adopt, earlier, run_with, wanted
from tests.serve.tiny_versions import entry


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


def test_what_can_not_run_for_now_is_adopted_as_it_was_and_is_back_by_itself() -> None:
    cluster = Cluster("a")
    cluster.fleet.name("m")
    away = {V1: f"{TROUBLE}ModelNotReady: no upstream server has answered for 11 s"}
    cluster.fleet.adopt(earlier(), GatewayReport("a", 50, away))
    cluster.fleet.want("m", [wanted(1)])
    cluster.say(away)
    assert (cluster.phases(), cluster.held(), cluster.fleet.table.routes) == ({V1: "READY"}, [V1], ROUTE_1)
    assert cluster.fleet.trouble_of(V1) == "no upstream server has answered for 11 s"
    cluster.say({V1: READY})
    assert cluster.fleet.trouble_of(V1) is None


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
