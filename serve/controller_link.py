"""How gateways and model replicas reach the controller: calls of its Ray Serve handle, and loops that outlive it.

The controller may be away at any time; whoever calls it goes on with what it knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ray import serve

from model_store.errors import OnegateError
from serve.operations import ModelList, Operation
from serve.reports import HEARTBEAT_S, GatewayReport, ReplicaReport
from serve.routing import RoutingTable

log = logging.getLogger("onegate")

CONTROLLER_APP = "onegate-controller"
CONTROLLER_DEPLOYMENT = "Controller"

LONG_POLL_S = 20.0
"""After this long the controller answers with the same table, so that dead callers do not pile up."""

_ANSWER_S = 5.0


class ControllerLink:
    """The controller's calls. Each raises whatever Ray raises while the controller is away."""

    def __init__(self) -> None:
        self._handle = serve.get_deployment_handle(CONTROLLER_DEPLOYMENT, CONTROLLER_APP)

    async def report_gateway(self, report: GatewayReport, table: RoutingTable | None) -> int:
        """A gateway's heartbeat; returns the controller's epoch. `table` is sent to one that has not seen it."""
        return int(await asyncio.wait_for(self._handle.hear_gateway.remote(report, table), _ANSWER_S))

    async def goodbye_gateway(self, gateway_id: str) -> None:
        """A gateway leaves."""
        await asyncio.wait_for(self._handle.forget_gateway.remote(gateway_id), _ANSWER_S)

    async def report_replica(self, report: ReplicaReport) -> None:
        """A replica's heartbeat, farewell or failure."""
        await asyncio.wait_for(self._handle.hear_replica.remote(report), _ANSWER_S)

    async def administer(self, operation: Operation) -> ModelList:
        """The controller's answer to an operation; raises what it raised."""
        outcome = await self._handle.administer.remote(operation)
        if isinstance(outcome, OnegateError):
            raise outcome
        assert isinstance(outcome, ModelList)
        return outcome

    async def next_table(self, number: int) -> RoutingTable:
        """The newest table, as soon as its number is larger than `number`, or after `LONG_POLL_S`."""
        table = await asyncio.wait_for(self._handle.next_table.remote(number), LONG_POLL_S + _ANSWER_S)
        assert isinstance(table, RoutingTable)
        return table


async def repeat(what: str, call: Callable[[], Awaitable[Any]], pause_s: float = HEARTBEAT_S) -> None:
    """Makes `call` again and again, with `pause_s` between the calls; failures are logged once until one succeeds."""
    failing = False
    while True:
        try:
            await call()
            failing = False
        except Exception as error:
            if not failing:
                log.warning("%s: the controller does not answer (%s); going on without it", what, type(error).__name__)
            failing = True
        await asyncio.sleep(pause_s)
