"""How gateways and model replicas reach the controller: calls of its Ray Serve handle, and loops that outlive it.

The controller may be away at any time; whoever calls it goes on with what it knows.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ray import serve

from model_store.errors import ModelNotReady, OnegateError
from serve.caller import CALLER
from serve.metrics.ledger import NO_ESTATE, Estate
from serve.operations import ModelList, Operation
from serve.reports import HEARTBEAT_S, GatewayReport, Heard, ReplicaReport
from serve.routing import RoutingTable

log = logging.getLogger("onegate")

CONTROLLER_APP = "onegate-controller"
CONTROLLER_DEPLOYMENT = "Controller"

LONG_POLL_S = 20.0
"""After this long the controller answers with the same table, so that dead callers do not pile up."""

_ANSWER_S = 5.0

SILENCE_S = 10.0
"""After this long without any answer of the controller nobody waits for what it was asked to do. Ray Serve would."""

_LOOK_S = 0.5
_RETRY_S = 2.0


class ControllerLink:
    """The controller's calls. Each raises whatever Ray raises while the controller is away, but for `administer`.

    `app` is the application that has the controller. `handle` stands in for Ray Serve's, and `silence_s` for
    `SILENCE_S`.
    """

    def __init__(self, handle: Any = None, silence_s: float = SILENCE_S, app: str = CONTROLLER_APP) -> None:
        self._handle = handle or serve.get_deployment_handle(CONTROLLER_DEPLOYMENT, app)
        self._silence_s = silence_s
        self._heard = time.monotonic()

    async def report_gateway(
        self, report: GatewayReport, table: RoutingTable | None, estate: Estate = NO_ESTATE
    ) -> Heard:
        """A gateway's heartbeat. `table`, and `estate`, what gateways that have gone had counted, are sent to a
        controller that has not seen them."""
        heard = await self._answer(self._handle.hear_gateway.remote(report, table, estate))
        assert isinstance(heard, Heard)
        return heard

    async def goodbye_gateway(self, gateway_id: str) -> None:
        """A gateway leaves."""
        await self._answer(self._handle.forget_gateway.remote(gateway_id))

    async def report_replica(self, report: ReplicaReport) -> None:
        """A replica's heartbeat, farewell or failure."""
        await self._answer(self._handle.hear_replica.remote(report))

    async def administer(self, operation: Operation) -> ModelList:
        """The controller's answer to an operation, which may take long; raises what it raised, and `ModelNotReady` when
        it has gone."""
        response = self._handle.administer.remote(operation, CALLER.get())
        asking = asyncio.ensure_future(self._answer(response, None))
        try:
            while not asking.done():
                await asyncio.wait([asking], timeout=_LOOK_S)
                if time.monotonic() - self._heard > self._silence_s:
                    raise TimeoutError
            outcome = await asking
        except Exception as error:
            log.warning("an operation got no answer from the controller: %s", type(error).__name__)
            raise ModelNotReady(
                "the controller went away and may have done what was asked; look, and ask again", retry_after_s=_RETRY_S
            ) from None
        finally:
            asking.cancel()
        if isinstance(outcome, OnegateError):
            raise outcome
        assert isinstance(outcome, ModelList)
        return outcome

    async def next_table(self, number: int) -> RoutingTable:
        """The newest table, as soon as its number is larger than `number`, or after `LONG_POLL_S`."""
        table = await self._answer(self._handle.next_table.remote(number), LONG_POLL_S + _ANSWER_S)
        assert isinstance(table, RoutingTable)
        return table

    async def _answer(self, response: Awaitable[Any], timeout_s: float | None = _ANSWER_S) -> Any:
        async with asyncio.timeout(timeout_s):
            answer = await response
        self._heard = time.monotonic()
        return answer


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
