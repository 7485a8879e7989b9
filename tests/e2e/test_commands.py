"""The commands that look at a running gateway, against a real one: top, logs, doctor, bench, completion."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_store.store import Store
from tests.e2e.running import Running, running
from tests.serve.administered import convert, export

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With one model of the quickstart, and `broken`, whose stored file was damaged."""
    folder = tmp_path_factory.mktemp("commands")
    store = Store.open(str(folder / "store"))
    convert(store, str(export(folder / "2.onnx", 2)), "broken")
    (entry,) = store.manifest("broken", 1).files.values()
    blob = folder / "store/blobs/sha256" / entry.sha256
    blob.chmod(0o644)
    blob.write_bytes(b"damaged")
    models = [
        {"name": "digits", "source": str(ROOT / "examples/quickstart/digits-mlp.onnx")},
        {"name": "broken", "versions": [{"version": 1}], "serve": {"executor": "inline"}},
    ]
    with running(folder, {"store": "store", "models": models}) as started:
        started.wait_until_greeted()
        yield started


def test_top_shows_what_bench_does(gateway: Running) -> None:
    words = ["bench", "digits", "--seconds", "4", "--max-concurrency", "2", "--plot", "digits.html", "--json"]
    with subprocess.Popen(
        [gateway.onegate, *words], cwd=gateway.folder, env=gateway.environment, stdout=subprocess.PIPE
    ) as bench, subprocess.Popen(
        [gateway.onegate, "top", "--once"], env=gateway.environment, stdout=subprocess.PIPE, text=True
    ) as once:  # fmt: skip
        time.sleep(3)
        told = json.loads(gateway.command("top", "--json").stdout)
        frame, _ = once.communicate(timeout=60)
        printed, _ = bench.communicate(timeout=60)
    report = json.loads(printed)
    assert (bench.returncode, once.returncode) == (0, 0)
    assert [step["errors"] for step in report["steps"]] == [{}, {}]
    verdict = report["verdict"]
    assert (verdict["knee"], verdict["still_growing"]) in ((1, False), (None, True))
    assert (gateway.folder / "digits.html").read_text().startswith("<!doctype html>")
    digits, broken = told["models"]
    states = [(row["model"], row["version"], row["state"]) for row in (digits, broken)]
    assert states == [("digits", "1", "READY"), ("broken", "1", "FAILED")]
    assert (told["missing"], told["gateways"]) == (None, 1)
    assert digits["requests_per_s"] > 100
    assert digits["p50_ms"] is not None
    assert 0 < digits["batch_fill"] <= 1
    assert (broken["requests_per_s"], told["errors_per_s"]) == (0, 0)
    assert [tuple(line.split()[:3]) for line in frame.splitlines() if line.startswith(("digits", "broken"))] == states


def test_logs_tell_of_the_model_that_can_not_be_loaded(gateway: Running) -> None:
    lines = [json.loads(line) for line in gateway.command("logs", "broken", "--json").stdout.splitlines()]
    assert {(line["level"], line["process"]) for line in lines} == {("WARNING", "gateway")}
    assert lines[0]["text"].startswith("version 1 of broken can't be loaded: ")
    # What `up` has shown, too.
    assert lines[0]["text"] in gateway.log.read_text()
    assert gateway.command("logs", "digits").stdout == ""
    assert gateway.command("logs", "--since", "1h", "--limit", "1").stdout.count("\n") == 1


def test_doctor_knows_the_running_gateway(gateway: Running) -> None:
    done = gateway.command("doctor", "--config", "onegate.yaml", "--json")
    told = json.loads(done.stdout)
    levels = {(finding["check"], finding["level"]) for finding in told["findings"]}
    assert {("ports", "ok"), ("ray", "ok"), ("store", "ok"), ("sources", "ok"), ("access", "ok")} <= levels
    assert sum("belongs to the running gateway" in finding["text"] for finding in told["findings"]) == 3
    assert done.returncode == (1 if told["problem"] else 0)


def test_the_shell_completes_models(gateway: Running) -> None:
    asked = {"_ONEGATE_COMPLETE": "bash_complete", "COMP_WORDS": "onegate bench d", "COMP_CWORD": "2"}
    done = subprocess.run(
        [gateway.onegate], env=os.environ | gateway.environment | asked, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("plain,digits\n", "")
