"""Failures in the controller's log: each once, however often it is tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.errors import ConversionError
from serve.control.failure_log import FailureLog
from serve.control.fleet import Fleet
from serve.control.state import Gathered
from serve.control.wanted import Wanted
from serve.reports import READY, GatewayReport
from tests.serve.administered import administered
from tests.serve.tiny_versions import entry
from tests.serve.waiting import eventually

M1 = ("m", 1)


class Logged:
    """A fleet with one gateway, and what is logged of it."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.fleet = Fleet("./store", 100)
        self.gathered = Gathered()
        self._log = FailureLog(self.fleet, self.gathered)
        self._caplog = caplog

    def want(self) -> None:
        self.fleet.want("m", [Wanted(entry("m", 1), 100)])
        self.fleet.step(0.0)

    def say(self, state: str) -> None:
        """What the gateway says of version 1."""
        self.fleet.heard.hear_gateway(GatewayReport("a", self.fleet.table.number, {M1: state}), 0.0)
        self.fleet.step(0.0)

    def lines(self) -> list[str]:
        """What two further looks log."""
        self._caplog.clear()
        self._log.look()
        self._log.look()
        return [f"{record.levelname} {record.getMessage()}" for record in self._caplog.records]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    return Logged(caplog)


def test_a_preparation_that_fails_is_logged_once(logged: Logged) -> None:
    logged.gathered.begin("m")
    assert logged.lines() == []
    logged.gathered.fail("m", ConversionError("outputs differ by 3%"))
    assert logged.lines() == ["WARNING model m failed: outputs differ by 3%"]
    assert logged.lines() == []


def test_what_fails_again_is_logged_only_for_another_reason(logged: Logged) -> None:
    for reason, lines in (("a", ["WARNING model m failed: a"]), ("a", []), ("b", ["WARNING model m failed: b"])):
        logged.gathered.begin("m")
        assert logged.lines() == []
        logged.gathered.fail("m", ConversionError(reason))
        assert logged.lines() == lines


def test_what_came_off_in_between_is_logged_anew(logged: Logged) -> None:
    logged.gathered.fail("m", ConversionError("a"))
    assert logged.lines() == ["WARNING model m failed: a"]
    logged.gathered.forget("m")
    assert logged.lines() == []
    logged.gathered.fail("m", ConversionError("a"))
    assert logged.lines() == ["WARNING model m failed: a"]


def test_a_version_without_replicas_that_can_load_it_is_logged_once_though_it_is_tried_again(logged: Logged) -> None:
    logged.want()
    assert logged.lines() == []
    logged.fleet.fail(M1, "no memory left")
    assert logged.lines() == ["WARNING version 1 of m failed: no memory left"]
    logged.want()
    assert logged.lines() == []
    logged.fleet.fail(M1, "no memory left")
    assert logged.lines() == []
    logged.want()
    logged.say(READY)
    assert logged.lines() == []


def test_what_a_gateway_can_not_load_it_logs_itself(logged: Logged) -> None:
    logged.want()
    logged.say("no memory left")
    assert logged.fleet.versions[M1].phase == "FAILED"
    assert logged.lines() == []


async def test_an_apply_that_fails_for_a_model_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with administered(tmp_path, {"name": "m", "source": str(tmp_path / "gone.onnx")}) as it:
        await eventually(lambda: "m" in it.desired.gathered.failures)
        await it.desired.step()
        await it.desired.apply(it.desired.config)
        await eventually(lambda: "m" in it.desired.gathered.failures)
        await it.desired.step()
        reason = it.desired.gathered.failures["m"].message
        assert [record.getMessage() for record in caplog.records] == [f"model m failed: {reason}"]
