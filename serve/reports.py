"""What gateways and model replicas tell the controller every second. Plain data: Ray carries it between processes."""

from __future__ import annotations

import msgspec

from serve.routing import Replica, VersionKey

READY = "ready"
LOADING = "loading"
DRAINING = "draining"
"""What a gateway says of a version; any other text is the reason why it can't load it."""

HEARTBEAT_S = 1.0

LEASE_S = 4.0
"""How long the controller believes in a gateway or replica after its last heartbeat."""


class GatewayReport(msgspec.Struct, frozen=True):
    """`table` is the number of the routing table that it follows; `states` is `VersionLoader.states`."""

    id: str
    table: int
    states: dict[VersionKey, str]


class ReplicaReport(msgspec.Struct, frozen=True):
    """`failure` says why the replica can't serve; `leaving` that it takes no more calls."""

    replica: Replica
    key: VersionKey
    failure: str | None = None
    leaving: bool = False
