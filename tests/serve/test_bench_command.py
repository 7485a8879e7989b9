"""`onegate bench` against an endpoint on a real socket, with load processes of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from serve.cli import main
from serve.dialects.registry import http_dialects
from tests.e2e.running import free_ports
from tests.serve.live.recorded import row
from tests.serve.management_port import ManagementPort, management_port
from tests.serve.served_models import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def port(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ManagementPort]:
    (number,) = free_ports(1)
    with management_port() as port:
        names = ("double", "echo", "broken")
        gateway = {"http": f"http://127.0.0.1:{number}", "grpc": "", "management": port.url}
        port.answers["/api/state"] = {"gateway": gateway, "models": [row(name) for name in names]}
        async with serving(tmp_path_factory.mktemp("models"), number, http_dialects("torchserve")):
            yield port


async def run(port: ManagementPort, *words: object) -> Result:
    """In a thread: the endpoint answers on this loop meanwhile."""
    line = ["bench", *map(str, words), "--management", port.url]
    return await asyncio.to_thread(CliRunner().invoke, main, line)


async def test_a_model_is_measured_step_by_step(port: ManagementPort, tmp_path: Path) -> None:
    plot = tmp_path / "double.html"
    words = ("--rows", 2, "--seconds", 1, "--max-concurrency", 4)
    result = await run(port, "double", *words, "--plot", plot, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["model"], report["rows"], report["payload"]) == ("double", 2, "random values: x FP32[2, 2]")
    assert [step["connections"] for step in report["steps"]] == [1, 2, 4][: len(report["steps"])]
    for step in report["steps"]:
        assert step["errors"] == {}
        assert step["rows_per_s"] == pytest.approx(2 * step["requests_per_s"])
        assert 0 < step["p50_ms"] <= step["p90_ms"] <= step["p99_ms"]
        assert 1 <= step["batch_rows"] <= 8
    assert (report["verdict"]["knee"] is None) == report["verdict"]["still_growing"]
    assert report["ceiling_per_s"] > report["steps"][0]["requests_per_s"]
    assert [value["key"] for value in report["verdict"]["values"]] == [
        "serve.batching.max_batch_size",
        "serve.batching.max_delay_ms",
        "serve.executor",
    ]
    assert plot.read_text().startswith("<!doctype html>")


async def test_people_get_a_table_a_knee_and_reasons(port: ManagementPort) -> None:
    result = await run(port, "double", "--seconds", 1, "--max-concurrency", 2)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("double version 1 at http://127.0.0.1:")
    assert lines[0].endswith("random values: x FP32[1, 2]")
    assert "this client gets" in lines[1]
    assert lines[2].split()[:2] == ["CONNECTIONS", "REQ/S"]
    marked = any(" knee " in line for line in lines[3:5])
    assert [line[:5] for line in lines if line.startswith(("Knee: ", "No knee yet: "))] == [
        "Knee:" if marked else "No kn"
    ]
    assert any(line.startswith("serve.executor: inline: a batch takes ") for line in lines)


async def test_a_file_is_sent_as_infer_would(port: ManagementPort, tmp_path: Path) -> None:
    (tmp_path / "body.txt").write_bytes(b"hello")
    words = ("--input", tmp_path / "body.txt", "--seconds", 1, "--max-concurrency", 1, "--json")
    report = json.loads((await run(port, "echo", *words)).stdout)
    assert (report["payload"], report["rows"]) == ("body.txt as it is", 1)
    assert report["steps"][0]["requests"] > 0


async def test_versions_of_a_split_and_replicas_that_the_load_woke_are_told(port: ManagementPort) -> None:
    def told(wanted: int) -> dict[str, Any]:
        bounds = {"ready": wanted, "wanted": wanted, "min": 0, "max": 2}
        first = row("double", called="1.0", executor="replicas", replicas=bounds, traffic=70)
        return {**state, "models": [first, row("double", version=2, called="2", traffic=30)]}

    state = port.answers["/api/state"]
    # Idle before, awake once there were calls.
    port.answers["/api/state"] = [told(0), told(1)]
    try:
        result = await run(port, "double", "--seconds", 1, "--max-concurrency", 1)
    finally:
        port.answers["/api/state"] = state
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("double versions 1.0 (70%), 2 (30%) at ")
    assert "\nserve.replicas.max: 2: " in result.stdout
    assert "0 of 2 replicas" not in result.stdout


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nobody"], 1, "model 'nobody' is not served here; models: broken, double, echo"),
        (["broken"], 1, "its source is damaged"),
        (["echo"], 1, "takes raw bodies: --input FILE"),
        (["double", "--url", "http://192.0.2.1:8080"], 2, "--allow-remote puts load on it all the same"),
        (["double", "--url", "ftp://127.0.0.1"], 2, "expected a URL as http://127.0.0.1:8080"),
        (["double", "--url", "http://127.0.0.1:x"], 2, "is no URL"),
        (["double", "--plot", "a.gif"], 2, "ends in .html or .png"),
        (["double", "--max-concurrency", "0"], 2, "max-concurrency"),
    ],
)
async def test_what_can_not_be_measured_says_why(port: ManagementPort, words: list[str], code: int, told: str) -> None:
    result = await run(port, *words)
    assert (result.exit_code, told in result.output) == (code, True), result.output


async def test_requests_that_are_refused_are_told_with_their_status(port: ManagementPort, tmp_path: Path) -> None:
    # Three rows of a body that is no row at all.
    (tmp_path / "x.json").write_text('{"x": [[1, 2, 3]]}')
    result: Any = await run(port, "double", "--input", tmp_path / "x.json", "--seconds", 1)
    assert result.exit_code == 1
    assert "of status 400; `onegate infer` tells why" in result.output
