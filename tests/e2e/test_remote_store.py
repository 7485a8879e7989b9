"""A store on S3: each file is downloaded once a node, and what is loaded answers while the store is away."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from s3fs import S3FileSystem

from model_store import served
from model_store.store import Store
from tests.e2e.models import body, write_multiplier
from tests.e2e.running import ONEGATE, Running, get, running
from tests.model_store.s3 import BUCKET, s3_way
from tests.serve.waiting import before_long

PATIENCE_S = 60.0


def answer(gateway: Running, model: str) -> Any:
    status, reply = get(f"{gateway.url}/v2/models/{model}/infer", body(1.0))
    return json.loads(reply)["outputs"][0]["data"][0] if status == 200 else status


def test_store_on_s3_is_read_once_a_node_and_may_be_away(tmp_path: Path) -> None:
    for name, factor in {"near": 2, "far": 3, "later": 4}.items():
        write_multiplier(tmp_path / f"{name}.onnx", factor)
    url = f"s3://{BUCKET}/store"
    config = {
        "store": url,
        "store_cache": {"folder": "cache"},
        "gateway": {"replicas": 2},
        "models": [
            {"name": "near", "source": "near.onnx", "serve": {"executor": "inline"}},
            {"name": "far", "source": "far.onnx", "serve": {"executor": "replicas", "replicas": 2}},
        ],
    }
    with s3_way() as way, running(tmp_path, config) as gateway:
        gateway.wait_until_settled()
        assert before_long(lambda: len(gateway.replica_processes("far")) == 2, PATIENCE_S)
        assert (answer(gateway, "near"), answer(gateway, "far")) == (2.0, 3.0)
        blobs = {path.rpartition("/")[2] for path in S3FileSystem().ls(f"{url}/blobs/sha256", refresh=True)}
        assert {path.name for path in (tmp_path / "cache" / "blobs").iterdir()} == blobs
        # Two gateways and two replicas, and one download of each file.
        assert way.downloads == len(blobs)

        # What is served is written down beside it.
        assert before_long(lambda: all(served.numbers(Store(url), name) for name in ("near", "far")), PATIENCE_S)
        way.spoil("away")
        killed = gateway.replica_processes("far")[0]
        killed.kill()
        for _ in range(50):
            assert (answer(gateway, "near"), answer(gateway, "far")) == (2.0, 3.0)
        # A replica that comes anew finds its files on the node.
        assert before_long(
            lambda: len({each.pid for each in gateway.replica_processes("far")} - {killed.pid}) == 2, PATIENCE_S
        )
        config["models"].append({"name": "later", "source": "later.onnx"})
        gateway.write_config()
        refused = gateway.command("apply", "onegate.yaml")
        assert refused.returncode == 1
        assert f"store '{url}' can't be" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1

        way.spoil("none")
        applied = gateway.command("apply", "onegate.yaml")
        assert applied.returncode == 0, applied.stderr
        assert before_long(lambda: answer(gateway, "later") == 4.0, PATIENCE_S)
        assert (answer(gateway, "near"), answer(gateway, "far")) == (2.0, 3.0)
        assert Store(url).versions("later") == [1]


def test_only_signed_versions_are_served(tmp_path: Path) -> None:
    for name, factor in {"signed": 2, "unsigned": 3}.items():
        write_multiplier(tmp_path / f"{name}.onnx", factor)
    config = {
        "signing": {"required": True, "public_keys": ["key.pem.pub"]},
        "models": [
            {"name": "signed", "source": "signed.onnx", "serve": {"executor": "replicas"}},
            {"name": "unsigned", "source": "unsigned.onnx"},
        ],
    }
    for words in (
        ["sign", "--new-key", "key.pem"],
        ["convert", "signed.onnx", "--sign-with", "key.pem", "--store", "store"],
    ):
        subprocess.run([ONEGATE, *words], cwd=tmp_path, check=True, capture_output=True)
    with running(tmp_path, config) as gateway:
        gateway.wait_until_settled()
        assert (answer(gateway, "signed"), answer(gateway, "unsigned")) == (2.0, 503)
        (row,) = gateway.rows("unsigned")
        assert row["state"] == "FAILED"
        assert "nobody has signed it; `onegate sign unsigned 1 --private-key FILE` does" in row["reason"]

        signed = gateway.command("sign", "unsigned", "--private-key", "key.pem", "--store", "store")
        assert signed.returncode == 0, signed.stderr
        assert gateway.command("apply", "onegate.yaml").returncode == 0
        assert before_long(lambda: answer(gateway, "unsigned") == 3.0, PATIENCE_S)
        # The policy is that of the start: no call turns it off.
        config["signing"] = {"required": False}
        gateway.write_config()
        refused = gateway.command("apply", "onegate.yaml")
        assert refused.returncode == 1
        assert refused.stderr.startswith("onegate: signing.required: runs with True, got False; ")
