"""A fleet with gateways that are reports, and what tests want of it."""

from __future__ import annotations

from typing import Any

import msgspec

from serve.control.fleet import Fleet
from serve.control.wanted import Wanted
from serve.reports import READY, GatewayReport, ReplicaReport
from serve.routing import ModelRoute, Replica, RoutingTable, ServeOptions, VersionKey
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
            self.fleet.heard.hear_gateway(report, self.now)
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


def replica(name: str) -> Replica:
    return Replica(name, "node", f"unix-abstract:{name}", "127.0.0.1:1")


def report(name: str, deployment: str = "m-1/1/64", version: int = 1, **said: Any) -> ReplicaReport:
    return ReplicaReport(replica(name), ("m", version), deployment, **said)


def earlier(number: int = 50, version: int = 1, executor: str = "inline") -> RoutingTable:
    return RoutingTable(
        number, "./store", (entry("m", version, executor),), {"m": ModelRoute(((version, 100),))}, {"n": "gone"}
    )


def adopt(cluster: Cluster, table: RoutingTable, *ready: VersionKey) -> None:
    """A gateway tells a new controller its table, and which versions of it are ready there."""
    cluster.fleet.adopt(table, GatewayReport("a", table.number, dict.fromkeys(ready, READY)))
