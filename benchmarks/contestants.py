"""The contestants: onegate started as a user does, and Ray Serve as in its tutorial. Each is one URL afterwards."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from benchmarks.bare import BareOnnx
from benchmarks.client import ask
from benchmarks.failure import BenchmarkFailed
from benchmarks.models import BenchmarkModel
from benchmarks.servers import Server, free_ports, running
from serve.launch.ray_session import LESS_UNASKED

START_S = 300.0
"""For the start of a server, with the conversion of its models."""
TOLERANCE = 1e-5
"""Largest difference from bare ONNX Runtime, relative to the largest value of the answer: another way of cutting the
work into threads rounds differently."""
EXECUTORS = ("inline", "replicas")

TUTORIAL = Path(__file__).with_name("ray_serve_tutorial.py")


@dataclass(frozen=True)
class Contestant:
    """A running endpoint of one model."""

    name: str
    url: str


@contextmanager
def onegate(
    folder: Path, model: BenchmarkModel, *, cpus: int, max_batch_size: int
) -> Iterator[tuple[Server, list[Contestant]]]:
    """`onegate up` with the model twice: inline, and in one replica. Both have `cpus` threads; everything else is as
    the config has it by default."""
    http_port, grpc_port, management_port = free_ports(3)
    config = folder / "onegate.yaml"
    serve = {"cpus": cpus, "replicas": 1, "batching": {"max_batch_size": max_batch_size}}
    document = {
        "store": "store",
        "gateway": {"http_port": http_port, "grpc_port": grpc_port, "management_port": management_port},
        "models": [
            {"name": executor, "source": str(model.path), "serve": {"executor": executor, **serve}}
            for executor in EXECUTORS
        ],
    }
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    with running("onegate", [console_script(), "up", str(config)], folder, {}) as server:
        server.wait_while(lambda: not_ready(f"http://127.0.0.1:{management_port}", len(EXECUTORS)), START_S)
        base = f"http://127.0.0.1:{http_port}/v2/models"
        yield server, [Contestant(executor, f"{base}/{executor}/infer") for executor in EXECUTORS]


@contextmanager
def ray_serve(folder: Path, model: BenchmarkModel, threads: int, ongoing: int) -> Iterator[tuple[Server, Contestant]]:
    """Ray Serve as in its tutorial, in a local Ray of its own; `ongoing` requests at once a replica."""
    port = free_ports(1)[0]
    command = [sys.executable, "-P", str(TUTORIAL), "--model", str(model.path), "--port", str(port)]
    command += ["--threads", str(threads), "--ongoing", str(ongoing), "--folder", str(folder / "ray")]
    contestant = Contestant("ray serve", f"http://127.0.0.1:{port}/v2/models/mlp/infer")
    with running("ray-serve", command, folder, local_ray_settings()) as server:
        server.wait_while(lambda: _no_answer(contestant, model), START_S)
        yield server, contestant


def check_answer(contestant: Contestant, model: BenchmarkModel, bare: BareOnnx) -> None:
    """Raises `BenchmarkFailed` when the contestant does not answer what bare ONNX Runtime does."""
    expected, got = bare.run(model.row), ask(contestant.url, model.body)
    if expected.shape != got.shape:
        raise BenchmarkFailed(f"{contestant.name}: expected an answer of shape {expected.shape}, got {got.shape}")
    difference = float(np.abs(expected - got).max() / np.abs(expected).max())
    if not difference <= TOLERANCE:
        raise BenchmarkFailed(
            f"{contestant.name}: the answer differs from bare ONNX Runtime's by {difference:.1e}, more than {TOLERANCE}"
        )


def local_ray_settings() -> dict[str, str]:
    """What onegate sets for a local Ray, so that none has an advantage."""
    # Ray 2.60 wants a token; one from here needs no file in the home folder.
    token = "benchmark-of-one-machine-on-loopback"
    return {
        "RAY_worker_niceness": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
        **LESS_UNASKED,
    }


def console_script() -> str:
    """The command `onegate` of this environment."""
    beside = Path(sys.executable).with_name("onegate")
    found = str(beside) if beside.exists() else shutil.which("onegate")
    if found is None:
        raise BenchmarkFailed("the command `onegate` is not installed here: pip install -e .")
    return found


def not_ready(management: str, models: int) -> str | None:
    """Which of `models` models can't be called yet, and why, or None; `BenchmarkFailed` for one that never will."""
    try:
        with urllib.request.urlopen(f"{management}/api/state", timeout=10) as reply:
            rows = json.load(reply)["models"]
    except (OSError, ValueError) as error:
        return f"{management} does not answer: {error}"
    for row in rows:
        if row["state"] == "FAILED":
            raise BenchmarkFailed(f"onegate does not serve {row['name']!r}: {row['reason']}")
    waiting = [f"{row['name']} is {row['state']} ({row['reason']})" for row in rows if row["state"] != "READY"]
    if len(rows) < models:
        return f"{len(rows)} of {models} models are known"
    return ", ".join(waiting) or None


def _no_answer(contestant: Contestant, model: BenchmarkModel) -> str | None:
    try:
        ask(contestant.url, model.body, timeout_s=10)
    except BenchmarkFailed as error:
        return error.message
    return None
