"""Rollouts that guard themselves, as a user sees them: what is planted goes back, what is good gets all calls, and a
controller that is killed on the way is missed by nobody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.load import BackgroundLoad
from tests.e2e.models import write_rows, write_slow
from tests.e2e.running import Running, get, running

CYCLE = 100
"""Different rows that are sent, in turn."""
WRONG = 7.0
"""One of them: 1% of the calls."""


class Rows(BackgroundLoad):
    """Sends rows `[k, 10.5]` to a model, k from 0 to `CYCLE` - 1 and again, `rate` a second; counts statuses."""

    def __init__(self, gateway: Running, model: str, rate: int) -> None:
        self._url = f"{gateway.url}/v2/models/{model}/infer"
        self._rate = rate
        super().__init__()
        self.statuses = Counter[int]()

    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as calls:
            begin, sent = time.monotonic(), 0
            while not self._ending.is_set():
                calls.create_task(self._call(session, sent % CYCLE))
                sent += 1
                await asyncio.sleep(max(0.0, begin + sent / self._rate - time.monotonic()))

    async def _call(self, session: aiohttp.ClientSession, k: int) -> None:
        row = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [float(k), 10.5]}
        async with session.post(self._url, json={"inputs": [row]}) as reply:
            await reply.read()
            self.statuses[reply.status] += 1


def _config(model: str, **rollout: Any) -> dict[str, Any]:
    """A model that is compared and judged within seconds."""
    bounds = {"step_s": 1.0, "min_requests": 100, "max_latency_ratio": 1000.0, "max_hold_s": 120.0} | rollout
    return {"name": model, "source": f"{model}.onnx", "serve": {"executor": "inline"}, "rollout": bounds}


def _applied(gateway: Running) -> str:
    done = gateway.command("apply", "onegate.yaml")
    assert done.returncode == 0, done.stderr
    return done.stdout


def _history(gateway: Running, model: str) -> dict[str, Any]:
    done = gateway.command("history", model, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _under_way(gateway: Running) -> list[dict[str, Any]]:
    rollouts: list[dict[str, Any]] = gateway.state()["rollouts"]
    return rollouts


def _ended(gateway: Running, model: str, count: int = 1) -> list[dict[str, Any]]:
    """The records of the model's rollouts, oldest first, when the `count`th has ended."""
    steps: list[dict[str, Any]] = []
    end = time.monotonic() + 90
    while time.monotonic() < end:
        steps = _history(gateway, model)["rollouts"][::-1]
        if sum(step["state"] in ("finished", "went back") for step in steps) == count:
            return steps
        time.sleep(0.3)
    raise AssertionError((steps, _under_way(gateway)))


def _went_back(gateway: Running, model: str, what: str, count: int = 1) -> None:
    """Asserts that the last rollout went back because of `what`, a pattern, and that desired state says so."""
    steps = _ended(gateway, model, count)
    assert [step["state"] for step in steps[-2:]] == ["going back", "went back"]
    assert re.match(what, steps[-1]["reason"])
    newest = _history(gateway, model)["generations"][0]
    assert newest["by"] == "guard"
    assert re.match(f"rollback of {model} to 1: ({what})", newest["why"])
    [row] = [row for row in gateway.rows(model) if row["traffic"]]
    assert (row["version"], row["traffic"]) == (1, 100)


def test_one_wrong_class_or_error_in_a_hundred_goes_back(tmp_path: Path) -> None:
    good, source = tmp_path / "good.onnx", tmp_path / "rows.onnx"
    write_rows(good)
    shutil.copy(good, source)
    model = _config("rows", steps=[50, 100], max_error_rate=0.001, max_disagreement=0.002, compare_percent=100.0)
    with running(tmp_path, {"store": "store", "models": [model]}) as gateway:
        gateway.wait_until_settled()
        with Rows(gateway, "rows", rate=300) as rows:
            write_rows(source, turned_at=WRONG)
            told = _applied(gateway)
            assert "rows: rollout of version 2 for 1: at 50% (steps 50, 100): " in told
            _went_back(gateway, "rows", "disagreement")
            assert set(rows.statuses) == {200}
            sent_back = "rows: rollout of version 2 for 1: went back at "
            assert sent_back in gateway.command("status").stdout
            assert sent_back in gateway.command("compare", "rows").stdout
            lines = [line for line in gateway.command("logs", "rows").stdout.splitlines() if "the guard sends" in line]
            assert len(lines) == 1
            assert "controller: the guard sends version 2 of rows back to version 1: disagreement: " in lines[0]
            _, page = get(f"{gateway.management}/metrics")
            assert b'onegate_rollouts_ended_total{model="rows",outcome="rolled_back"} 1\n' in page

            write_rows(source, fails_at=WRONG)
            done = gateway.command("apply", "onegate.yaml", "--wait-rollout")
            assert done.returncode == 1
            assert done.stderr.startswith("onegate: rows: rollout of version 3 for 1: went back at ")
            # The runtime takes it for an invalid input: an error of copies, and a refusal of calls.
            _went_back(gateway, "rows", "errors|refusals", count=2)


def test_twice_the_latency_goes_back(tmp_path: Path) -> None:
    source = tmp_path / "slow.onnx"
    write_slow(source, 2)
    model = _config("slow", steps=[50, 100], max_latency_ratio=1.4)
    with running(tmp_path, {"store": "store", "models": [model]}) as gateway:
        gateway.wait_until_settled()
        with Rows(gateway, "slow", rate=20) as rows:
            write_slow(source, 4)
            _applied(gateway)
            _went_back(gateway, "slow", "latency")
        assert set(rows.statuses) == {200}


def test_a_good_version_gets_all_calls_though_the_controller_is_killed_at_the_second_step(tmp_path: Path) -> None:
    source = tmp_path / "rows.onnx"
    write_rows(source)
    model = _config("rows", steps=[10, 50, 100], step_s=10.0, max_error_rate=0.05)
    with running(tmp_path, {"store": "store", "models": [model]}) as gateway:
        gateway.wait_until_settled()
        with Rows(gateway, "rows", rate=150) as rows:
            write_rows(source, turned_at=-1.0)
            _applied(gateway)
            end = time.monotonic() + 60
            while [each["percent"] for each in _under_way(gateway)] != [50] and time.monotonic() < end:
                time.sleep(0.1)
            assert "rows: rollout of version 2 for 1: at 50%" in gateway.command("status").stdout
            gateway.kill_controller()
            percents = _percents(gateway)
            steps = _ended(gateway, "rows")
        assert percents == [50, 100]
        assert set(rows.statuses) == {200}
        assert [(step["state"], step["percent"]) for step in steps] == [
            *(("on", 10), ("on", 50), ("on", 100)),
            ("finished", 100),
        ]
        assert [(row["version"], row["traffic"]) for row in gateway.rows("rows") if row["state"] == "READY"] == [
            (2, 100)
        ]
        assert [entry["text"] for entry in _history(gateway, "rows")["served"]] == ["version 2 100%", "version 1 100%"]


def _percents(gateway: Running) -> list[int]:
    """The canary's shares until the rollout has ended, as the state tells them; management may be away meanwhile."""
    found: list[int] = []
    end = time.monotonic() + 90
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            under_way = _under_way(gateway)
            found += [each["percent"] for each in under_way if each["percent"] not in found[-1:]]
            if found and not under_way:
                break
        time.sleep(0.1)
    return found
