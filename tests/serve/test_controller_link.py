"""A gateway's calls of a controller that answers late, not at all, or goes away in the middle."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from model_store.errors import Conflict, ModelNotReady
from serve.caller import CALLER
from serve.controller_link import ControllerLink
from serve.operations import LoadModel, ModelList, ModelStatus, Operation
from serve.reports import GatewayReport, Heard

LOAD = LoadModel(model="m")
LOADED = ModelList((ModelStatus("m"),))


class Controller:
    """Stands for Ray Serve's handle: operations end as the test says, heartbeats are answered unless it is `away`."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.asked: list[Operation] = []
        self.callers: list[str] = []
        self.away = False
        self.administer = SimpleNamespace(remote=self._administer)
        self.hear_gateway = SimpleNamespace(remote=self._hear_gateway)

    async def _administer(self, operation: Operation, caller: str) -> Any:
        self.asked.append(operation)
        self.callers.append(caller)
        return await self.outcome

    async def _hear_gateway(self, *report: Any) -> Heard:
        if self.away:
            raise ConnectionError
        return Heard(7)


@pytest.fixture
async def controller() -> Controller:
    return Controller()


async def test_an_operation_s_outcome_is_returned_or_raised(controller: Controller) -> None:
    link = ControllerLink(controller)
    controller.outcome.set_result(LOADED)
    assert (await link.administer(LOAD), controller.asked) == (LOADED, [LOAD])
    controller.outcome = asyncio.get_running_loop().create_future()
    controller.outcome.set_result(Conflict("model 'm' is loaded already", model="m"))
    with pytest.raises(Conflict, match="loaded already") as caught:
        await link.administer(LOAD)
    assert caught.value.details == {"model": "m"}


async def test_the_controller_hears_who_asks(controller: Controller) -> None:
    controller.outcome.set_result(LOADED)
    CALLER.set("key:ops")
    await ControllerLink(controller).administer(LOAD)

    assert controller.callers == ["key:ops"]


async def test_a_controller_that_dies_is_told_as_not_ready_with_a_time_to_ask_again(controller: Controller) -> None:
    link = ControllerLink(controller)
    asking = asyncio.ensure_future(link.administer(LOAD))
    await asyncio.sleep(0)
    controller.outcome.set_exception(RuntimeError("The actor died unexpectedly"))
    with pytest.raises(ModelNotReady, match="went away and may have done") as caught:
        await asking
    assert caught.value.details == {"retry_after_s": 2.0}


async def test_a_controller_that_says_nothing_at_all_is_not_waited_for(controller: Controller) -> None:
    controller.away = True
    with pytest.raises(ModelNotReady, match="went away"):
        await asyncio.wait_for(ControllerLink(controller, silence_s=0.05).administer(LOAD), 5)
    assert controller.outcome.cancelled()


async def test_an_operation_that_takes_long_is_waited_for_while_heartbeats_are_answered(controller: Controller) -> None:
    link = ControllerLink(controller, silence_s=0.7)
    asking = asyncio.ensure_future(link.administer(LOAD))
    for _ in range(10):
        assert await link.report_gateway(GatewayReport("g", 1, {}), None) == Heard(7)
        await asyncio.sleep(0.1)
    assert not asking.done()
    controller.outcome.set_result(LOADED)
    assert await asking == LOADED


async def test_who_goes_away_takes_the_question_along(controller: Controller) -> None:
    asking = asyncio.ensure_future(ControllerLink(controller).administer(LOAD))
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.sleep(0)
    assert controller.outcome.cancelled()
