"""What the fleet hears of replicas and gateways, and which replicas it needs."""

from __future__ import annotations

from serve.reports import DRAINING, LEASE_S, LOADING, READY
from tests.serve.clusters import ROUTE_1, V1, V2, Cluster, replica, report, run_with, serving, wanted
from tests.serve.tiny_versions import entry

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
    cluster.fleet.heard.forget_gateway("b")
    cluster.step()
    assert cluster.phases() == {V1: "READY"}


def test_replicas_enter_the_table_with_their_heartbeats_and_leave_it_when_they_stop() -> None:
    cluster = serving(1, executor="replicas")
    for name in ("r2", "r1"):
        cluster.fleet.hear_replica(report(name), cluster.now)
    cluster.step()
    assert [each.id for each in cluster.fleet.table.versions[0].replicas] == ["r1", "r2"]
    assert cluster.fleet.heard.replicas_of(V1) == (replica("r1"), replica("r2"))

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
    assert cluster.fleet.heard.deployments_of(V1) == {"m-1/1/64", "m-1/2/64"}
    assert cluster.fleet.heard.deployments_of(V2) == {"m-2/1/64"}
    cluster.now = LEASE_S + 0.1
    cluster.step()
    assert cluster.fleet.heard.deployments_of(V1) == {"m-1/2/64"}
    cluster.fleet.hear_replica(report("r2", leaving=True), cluster.now)
    assert cluster.fleet.heard.deployments_of(V1) == set()


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
