"""`onegate compare` against a management port: what people read, what programs read, and when there is nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from serve.cli import main
from serve.control.management import Management
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.rollouts.comparison import Comparison, OutputDifference
from serve.rollouts.comparison_report import describe_comparison
from serve.rollouts.histogram import Histogram
from serve.rollouts.observations import Observations, VersionCounters
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable
from tests.serve.control.managed import Desired
from tests.serve.tiny_versions import entry

Compare = Callable[..., Awaitable[Result]]


ROLLOUT = {
    "model": "alone",
    "stable": 1,
    "canary": 2,
    "state": "on",
    "percent": 10,
    "steps": [10, 100],
    "reason": "not decided yet: errors",
    "evidence": ["errors: undecided", "latency p50: kept"],
}


SENT_BACK = {
    "model": "back",
    "stable": 1,
    "canary": 2,
    "state": "went back",
    "ended": "2026-01-02T03:04:05+00:00",
    "reason": "errors: past",
    "evidence": ["errors: past", "latency p50: kept"],
    "holds": True,
}


def seen() -> Observations:
    latency = Histogram()
    latency.add(1_000_000, times=100)
    errors = Histogram()
    errors.add(2_000_000, times=10)
    output = OutputDifference(10, 9, errors, 0.5, {"shape": 1})
    return Observations(
        {("m", 1): VersionCounters(102, {"InternalError": 2}, latency, refused=4)},
        {("m", 1, 2): Comparison(1_700_000_000_000, 10, 9, {}, 3, {"scores": output}, latency, latency)},
    )


class Compared(Desired):
    """A controller of the model `m` with a shadow, of `single` without, of `alone` with a rollout, of `back` that went
    back, and of `broken`, which failed."""

    def comparison(self, model: str) -> dict[str, Any]:
        routes = {
            "m": ModelRoute(((1, 100),), shadows=((2, 100.0),)),
            **{name: ModelRoute(((1, 100),)) for name in ("alone", "single", "back")},
        }
        entries = tuple(entry(*key) for key in (("m", 1), ("m", 2), ("alone", 1), ("single", 1), ("back", 1)))
        router = Router(RoutingTable(1, "./store", entries, routes, unavailable={"broken": "no such file"}))
        return describe_comparison(model, router, seen()) | {
            "rollout": ROLLOUT if model == "alone" else None,
            "ended_rollout": SENT_BACK if model == "back" else SENT_BACK | {"holds": False},
        }


@pytest.fixture
async def compare(free_port: int) -> AsyncIterator[Compare]:
    door = HttpFrontDoor([], Compared().answer, 1_000_000)
    listener = HttpListener(Management(Compared(), door), "127.0.0.1", free_port)
    listener.start()

    async def call(*words: str) -> Result:
        words = ("compare", *words, "--management", f"http://127.0.0.1:{free_port}")
        return await asyncio.to_thread(CliRunner().invoke, main, words)

    yield call
    await listener.stop()


async def test_people_read_tables(compare: Compare) -> None:
    done = await compare("m")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines() if line] == [
        ["VERSION", "TRAFFIC", "CALLS", "FAILED", "REFUSED", "P50", "MS", "P90", "MS", "P99", "MS"],
        ["1", "100%", "102", "2", "InternalError", "4", "0.999", "0.999", "0.999"],
        [
            "1",
            "->",
            "2",
            "since",
            "2023-11-14T22:13:20+00:00:",
            "10",
            "compared,",
            "9",
            "agree",
            "(90.00%),",
            "failed:",
            "0,",
            "3",
            "dropped,",
            "p50",
            "0.999",
            "->",
            "0.999",
            "ms",
        ],
        ["OUTPUT", "SAME", "CLASS", "ERROR", "P50", "P90", "P99", "MAX", "MISMATCHES"],
        ["scores", "90.00%", "of", "10", "0.002", "0.002", "0.002", "0.5", "1", "shape"],
    ]


async def test_programs_read_json(compare: Compare) -> None:
    done = await compare("m", "--json")
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert (report["model"], len(report["versions"]), len(report["comparisons"])) == ("m", 1, 1)


async def test_a_rollout_is_told_with_its_evidence(compare: Compare) -> None:
    done = await compare("alone")
    assert done.stdout.splitlines()[:3] == [
        "alone: rollout of version 2 for 1: at 10% (steps 10, 100): not decided yet: errors",
        "  errors: undecided",
        "  latency p50: kept",
    ]


async def test_a_version_that_was_sent_back_is_told_with_its_evidence(compare: Compare) -> None:
    done = await compare("back")
    assert done.stdout.splitlines()[:3] == [
        "back: rollout of version 2 for 1: went back at 2026-01-02T03:04:05+00:00: errors: past",
        "  errors: past",
        "  latency p50: kept",
    ]


async def test_a_model_without_a_version_has_nothing_to_compare_and_says_why(compare: Compare) -> None:
    done = await compare("broken")
    assert (done.exit_code, done.stdout) == (0, "broken: nothing to compare; no version answers: no such file\n")


async def test_a_model_with_one_version_has_nothing_to_compare(compare: Compare) -> None:
    done = await compare("single")
    assert (done.exit_code, done.stdout) == (
        0,
        "single: nothing to compare; one version has all calls, and no other gets copies (`shadow: true`)\n",
    )


async def test_an_unknown_model_is_an_error(compare: Compare) -> None:
    done = await compare("nobody")
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", "onegate: model 'nobody' is not served here\n")
