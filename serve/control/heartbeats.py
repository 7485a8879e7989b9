"""What gateways and replicas last said of themselves, as long as their heartbeats arrive."""

from __future__ import annotations

from serve.devices import Device
from serve.reports import LEASE_S, GatewayReport, ReplicaReport, VersionLoad
from serve.routing import Replica, VersionKey


class Heartbeats:
    """The newest report of each process. Times are the caller's clock, in seconds."""

    def __init__(self) -> None:
        self._gateways: dict[str, tuple[float, GatewayReport]] = {}
        self._replicas: dict[str, tuple[float, ReplicaReport]] = {}

    def hear_gateway(self, report: GatewayReport, now: float) -> None:
        """A gateway's heartbeat."""
        self._gateways[report.id] = (now, report)

    def forget_gateway(self, gateway_id: str) -> None:
        """A gateway said goodbye."""
        self._gateways.pop(gateway_id, None)

    def hear_replica(self, report: ReplicaReport, now: float) -> None:
        """A replica's heartbeat, or its farewell."""
        if report.leaving:
            self._replicas.pop(report.replica.id, None)
        else:
            self._replicas[report.replica.id] = (now, report)

    def drop_silent(self, now: float) -> None:
        """Forgets who has not been heard for `LEASE_S`."""
        self._gateways = {i: seen for i, seen in self._gateways.items() if now - seen[0] <= LEASE_S}
        self._replicas = {i: seen for i, seen in self._replicas.items() if now - seen[0] <= LEASE_S}

    # -- gateways --------------------------------------------------------------------------------------------------

    @property
    def gateways(self) -> dict[str, GatewayReport]:
        """What each of them last said, by id."""
        return {gateway: report for gateway, (_, report) in self._gateways.items()}

    def is_followed(self, number: int) -> bool:
        """Whether there are gateways and all of them follow table `number` or a newer one."""
        return bool(self._gateways) and all(report.table >= number for _, report in self._gateways.values())

    def states(self, key: VersionKey, since: int = 0) -> list[str | None]:
        """What each gateway says of a version; None where it does not hold it, or does not follow table `since` yet."""
        return [report.states.get(key) if report.table >= since else None for _, report in self._gateways.values()]

    def is_gone(self, key: VersionKey, since: int) -> bool:
        """Whether all gateways follow table `since` and none holds the version."""
        return all(report.table >= since and key not in report.states for _, report in self._gateways.values())

    def loads_of(self, key: VersionKey) -> dict[str, tuple[float, VersionLoad]]:
        """What each gateway last said of the version's load, and when; of those that said something."""
        return {i: (at, report.loads[key]) for i, (at, report) in self._gateways.items() if key in report.loads}

    # -- replicas --------------------------------------------------------------------------------------------------

    @property
    def replicas(self) -> list[ReplicaReport]:
        """What each of them last said."""
        return [report for _, report in self._replicas.values()]

    def deployments_of(self, key: VersionKey) -> set[str]:
        """As what the version's replicas were started."""
        return {report.deployment for report in self._reports_of(key)}

    def replicas_of(self, key: VersionKey) -> tuple[Replica, ...]:
        """The replicas of a version, by id."""
        return tuple(report.replica for report in self._reports_of(key))

    def devices_of(self, key: VersionKey) -> tuple[Device, ...]:
        """Where these replicas compute, in the same order."""
        return tuple(report.device for report in self._reports_of(key))

    def _reports_of(self, key: VersionKey) -> list[ReplicaReport]:
        found = [report for _, report in self._replicas.values() if report.key == key]
        return sorted(found, key=lambda report: report.replica.id)
