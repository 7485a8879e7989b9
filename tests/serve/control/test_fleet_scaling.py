"""A number of replicas that moves, and versions that are not loaded, in the life of a version."""

from __future__ import annotations

import msgspec
import pytest

from serve.control.wanted import Wanted
from serve.reports import IDLE, LOADING, READY, GatewayReport, ReplicaReport
from serve.routing import Replica, Scaling, ServeOptions
from tests.serve.clusters import ROUTE_1, V1, Cluster, replica, run_with, serving, wanted
from tests.serve.tiny_versions import entry


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
