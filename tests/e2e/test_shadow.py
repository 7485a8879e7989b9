"""Canaries, sticky callers and shadows as clients see them: through HTTP, with the real controller and command."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from serve.rollouts.sticky import sticky_version
from tests.e2e.models import body, write_multiplier
from tests.e2e.running import Running, running

REQUESTS = 20_000


def _config(*versions: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {
        "store": "store",
        "models": [{"name": "times", "serve": {"executor": "inline"}, "versions": list(versions), **keys}],
    }


def _write_versions(folder: Path) -> None:
    """What clients get names the version: 1 doubles, 2 trebles."""
    for factor in (2, 3):
        write_multiplier(folder / f"times-{factor}.onnx", float(factor))


async def _answers(url: str, headers: list[dict[str, str]]) -> list[tuple[int, float]]:
    """Status and first number of the answers to a request with each of `headers`, 32 at a time."""
    places = asyncio.Semaphore(32)
    async with aiohttp.ClientSession() as session:

        async def ask(header: dict[str, str]) -> tuple[int, float]:
            async with places, session.post(url, data=body(1.0), headers=header) as reply:
                return reply.status, (await reply.json(content_type=None))["outputs"][0]["data"][0]

        return await asyncio.gather(*map(ask, headers))


def _comparison(gateway: Running) -> dict[str, Any]:
    done = gateway.command("compare", "times", "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _reported(gateway: Running, requests: int) -> dict[str, Any]:
    """The report that counts so many requests: heartbeats bring it within a second or two."""
    end = time.monotonic() + 20
    report = _comparison(gateway)
    while sum(row["requests"] for row in report["versions"]) < requests and time.monotonic() < end:
        time.sleep(0.2)
        report = _comparison(gateway)
    return report


def test_a_canary_of_ten_percent_gets_a_tenth_of_20_000_requests(tmp_path: Path) -> None:
    _write_versions(tmp_path)
    versions = {"source": "times-2.onnx", "traffic": 90}, {"source": "times-3.onnx", "traffic": 10}
    with running(tmp_path, _config(*versions)) as gateway:
        gateway.wait_until_settled()
        counts = Counter(asyncio.run(_answers(f"{gateway.url}/v2/models/times/infer", [{}] * REQUESTS)))
        report = _reported(gateway, REQUESTS)
    assert counts.keys() == {(200, 2.0), (200, 3.0)}
    assert abs(counts[200, 3.0] - REQUESTS * 0.1) <= 5 * math.sqrt(REQUESTS * 0.1 * 0.9)
    assert [(row["version"], row["traffic"], row["requests"], row["failed"]) for row in report["versions"]] == [
        (1, 90, counts[200, 2.0], 0),
        (2, 10, counts[200, 3.0], 0),
    ]
    assert report["comparisons"] == []


def test_sticky_callers_stay_on_two_gateways_and_after_a_restart_and_while_the_canary_grows(tmp_path: Path) -> None:
    _write_versions(tmp_path)
    users = [f"user-{number}" for number in range(200)]
    factors = {1: 2.0, 2: 3.0}

    def shares(canary: int) -> dict[str, Any]:
        versions = {"source": "times-2.onnx", "traffic": 100 - canary}, {"source": "times-3.onnx", "traffic": canary}
        return _config(*versions, sticky={"header": "X-User"})

    def expected(canary: int) -> list[tuple[int, float]]:
        split = ((1, 100 - canary), (2, canary))
        return [(200, factors[sticky_version("times", user, split)]) for user in users]

    def asked(gateway: Running) -> list[tuple[int, float]]:
        url = f"{gateway.url}/v2/models/times/infer"
        return asyncio.run(_answers(url, [{"x-user": user} for user in users]))

    for _ in range(2):
        with running(tmp_path, shares(20) | {"gateway": {"replicas": 2}}) as gateway:
            gateway.wait_until_settled()
            for _ in range(3):
                assert asked(gateway) == expected(20)
    with running(tmp_path, shares(20)) as gateway:
        gateway.wait_until_settled()
        gateway.config["models"] = shares(60)["models"]
        gateway.write_config()
        assert gateway.command("apply", "onegate.yaml").returncode == 0
        end = time.monotonic() + 20
        while asked(gateway) != expected(60) and time.monotonic() < end:
            time.sleep(0.2)
        assert asked(gateway) == expected(60)
    before, after = expected(20), expected(60)
    assert {(old, new) for (_, old), (_, new) in zip(before, after, strict=True)} == {
        (2.0, 2.0),
        (2.0, 3.0),
        (3.0, 3.0),
    }


def test_a_shadow_answers_nobody_and_is_compared(tmp_path: Path) -> None:
    _write_versions(tmp_path)
    versions = {"source": "times-2.onnx"}, {"source": "times-3.onnx", "shadow": True, "label": "next"}
    with running(tmp_path, _config(*versions)) as gateway:
        gateway.wait_until_settled()
        url = f"{gateway.url}/v2/models/times/infer"
        assert set(asyncio.run(_answers(url, [{}] * 2_000))) == {(200, 2.0)}
        assert asyncio.run(_answers(f"{gateway.url}/v2/models/times/versions/2/infer", [{}])) == [(200, 3.0)]
        report = _reported(gateway, 2_000)
        told = gateway.command("compare", "times")
    assert [(row["version"], row["traffic"], row["requests"]) for row in report["versions"]] == [(1, 100, 2_000)]
    [comparison] = report["comparisons"]
    assert (comparison["reference"], comparison["version"], comparison["failures"]) == (1, 2, {})
    assert comparison["compared"] + comparison["dropped"] == 2_000
    assert comparison["compared"] > 100
    [output] = comparison["outputs"]
    assert (output["name"], output["rows"], output["relative_error"]["max"]) == ("y", comparison["compared"], 0.5)
    assert told.returncode == 0, told.stderr
    assert "1 -> 2 since" in told.stdout
    assert "SAME CLASS" in told.stdout
