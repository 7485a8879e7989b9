"""`serve.app:build` as Ray Serve deploys it, from the config that the Kubernetes manifest ships."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.e2e.models import body, write_multiplier
from tests.e2e.running import free_ports, get

MANIFEST = Path(__file__).parents[2] / "configs/kubernetes/onegate.yaml"
PATIENCE_S = 60.0


@contextmanager
def deployed(folder: Path, config: dict[str, Any]) -> Iterator[None]:
    """The Serve config, deployed for the block."""
    (folder / "serve.yaml").write_text(yaml.safe_dump(config))
    # Short: Ray's sockets lie below.
    with tempfile.TemporaryDirectory(prefix="og-") as short, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.serve_deploy", str(folder / "serve.yaml"), short],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "deployed\n", (folder / "log").read_text()
            yield
        finally:
            left = psutil.Process(process.pid).children(recursive=True)
            process.communicate(timeout=PATIENCE_S)
            for each in psutil.wait_procs(left, timeout=10)[1]:
                each.kill()


def answered(url: str, wanted: int) -> bytes:
    """The body of the first answer with that status."""
    end = time.monotonic() + PATIENCE_S
    while True:
        status, answer = get(url, body(1.0) if url.endswith("infer") else None)
        if status == wanted:
            return answer
        assert time.monotonic() < end, (status, answer)
        time.sleep(0.2)


def test_requests_come_through_ray_serve_s_proxy_and_through_the_gateway_s_own_port(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    proxy, http, grpc, management = free_ports(4)
    models = [
        {"name": "inline", "source": "times.onnx"},
        {"name": "replicas", "source": "times.onnx", "serve": {"executor": "replicas"}},
    ]
    gateway = {"http_port": http, "grpc_port": grpc, "management_port": management, "every_node": True}
    gateway["max_body_bytes"] = 2048
    (tmp_path / "onegate.yaml").write_text(yaml.safe_dump({"store": "store", "gateway": gateway, "models": models}))
    (service,) = (each for each in yaml.safe_load_all(MANIFEST.read_text()) if each["kind"] == "RayService")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    config["http_options"] = {"host": "127.0.0.1", "port": proxy}
    config["applications"][0]["args"] = {"config": str(tmp_path / "onegate.yaml")}
    with deployed(tmp_path, config):
        for port in (proxy, http):
            base = f"http://127.0.0.1:{port}"
            answered(f"{base}/v2/health/ready", 200)
            for model in ("inline", "replicas"):
                answer = json.loads(answered(f"{base}/v2/models/{model}/infer", 200))
                assert answer["outputs"][0]["data"] == [2.0, 2.0]
            assert get(f"{base}/v2/models/other/infer", body(1.0))[0] == 404
            assert get(f"{base}/v2/models/inline/infer", b" " * 4096)[0] == 413
            assert json.loads(get(f"{base}/v2")[1])["name"] == "onegate"
        state = json.loads(get(f"http://127.0.0.1:{management}/api/state")[1])
        assert [(row["name"], row["state"]) for row in state["models"]] == [("inline", "READY"), ("replicas", "READY")]
