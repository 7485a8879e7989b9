"""What a user does wrong: one clear line, the exit code of the design, and everything else goes on."""

from __future__ import annotations

import json
import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.models import body, write_multiplier
from tests.e2e.running import ONEGATE, Running, get, running

GOOD = {"name": "times", "source": "times.onnx"}


def _up(folder: Path, config: str) -> subprocess.CompletedProcess[str]:
    (folder / "bad.yaml").write_text(config)
    return subprocess.run([ONEGATE, "up", "bad.yaml"], cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Six models, five of which can't be served."""
    folder = tmp_path_factory.mktemp("bad")
    write_multiplier(folder / "times.onnx", 2.0)
    whole = (folder / "times.onnx").read_bytes()
    (folder / "empty.onnx").touch()
    (folder / "truncated.onnx").write_bytes(whole[: len(whole) // 2])
    (folder / "unknown.bin").write_bytes(b"\x01\x02\x03 nothing that anybody exports")
    (folder / "model.pkl").write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    sources = ("missing.onnx", "empty.onnx", "truncated.onnx", "unknown.bin", "model.pkl")
    models = [GOOD, *({"name": source.replace(".", "-"), "source": source} for source in sources)]
    config = {"store": "store", "gateway": {"max_body_bytes": 2000}, "models": models}
    with running(folder, config) as started:
        started.wait_until_settled()
        yield started


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("missing-onnx", "does not exist"),
        ("empty-onnx", "is empty"),
        ("truncated-onnx", "cut off"),
        ("unknown-bin", "no known kind"),
        ("model-pkl", "trust: true"),
    ],
)
def test_model_that_cannot_be_served_says_why_and_the_others_come_up(gateway: Running, model: str, reason: str) -> None:
    [row] = gateway.rows(model)
    assert row["state"] == "FAILED"
    assert reason in row["reason"]
    assert "\n" not in row["reason"]
    assert reason in gateway.command("status").stdout
    assert gateway.rows("times")[0]["state"] == "READY"
    assert get(f"{gateway.url}/v2/models/times/infer", body(2.0))[0] == 200
    status, answer = get(f"{gateway.url}/v2/models/{model}/infer", body(2.0))
    assert (status, reason in json.loads(answer)["error"]) == (503, True)


def _request(**changes: object) -> bytes:
    sent = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]} | changes
    return json.dumps({"inputs": [sent]}).encode()


@pytest.mark.parametrize(
    ("path", "sent", "status", "message"),
    [
        ("times/infer", _request(name="z"), 400, "model 'times' takes the inputs 'x': FP32[*,2]; got 'z'"),
        ("times/infer", _request(shape=[1, 3], data=[1, 2, 3]), 400, "input 'x': expected FP32[*,2], got FP32[1,3]"),
        ("times/infer", _request(datatype="FP64"), 400, "input 'x': expected FP32[*,2], got FP64[1,2]"),
        ("times/infer", _request()[:40], 400, "the body is not a v2 inference request: Input data was truncated"),
        ("times/infer", b" " * 2001, 413, "the body may have 2000 bytes, got 2001 bytes"),
        ("nobody/infer", _request(), 404, "model 'nobody' is not served here"),
        ("times/versions/9/infer", _request(), 404, "model 'times' has no version 9 here; callable: 1"),
    ],
    ids=["name", "shape", "datatype", "cut_off", "too_large", "unknown_model", "unknown_version"],
)
def test_bad_request_is_refused_in_one_line(
    gateway: Running, path: str, sent: bytes, status: int, message: str
) -> None:
    assert get(f"{gateway.url}/v2/models/{path}", sent) == (
        status,
        json.dumps({"error": message}, separators=(",", ":")).encode(),
    )
    assert get(f"{gateway.url}/v2/models/times/infer", body(2.0))[0] == 200


def test_port_in_use_is_named(gateway: Running, tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    port = gateway.config["gateway"]["http_port"]
    done = _up(tmp_path, f"gateway: {{http_port: {port}}}\nmodels: [{{name: times, source: times.onnx}}]\n")
    assert done.returncode == 1
    assert done.stderr == (
        f"onegate: gateway.http_port: 127.0.0.1:{port} can't be used (Address already in use); "
        "end what listens there or set another port\n"
    )


def test_apply_of_a_bad_config_changes_nothing(gateway: Running, tmp_path: Path) -> None:
    before = gateway.state()
    (tmp_path / "bad.yaml").write_text("models:\n  - name: times\n    sorce: times.onnx\n")
    done = gateway.command("apply", str(tmp_path / "bad.yaml"))
    assert done.returncode == 1
    assert "bad.yaml:3: models[0].sorce: unknown key; did you mean 'source'?" in done.stderr
    assert gateway.state() == before


def test_misspelt_key_is_named_with_file_and_line(tmp_path: Path) -> None:
    done = _up(tmp_path, "models:\n  - name: times\n    source: times.onnx\n    serve: {batchng: {}}\n")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("bad.yaml:4: models[0].serve.batchng: unknown key; did you mean 'batching'?")
    assert done.stderr.count("\n") == 1


def test_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = _up(tmp_path, "store: file/store\nmodels: []\n")
    assert done.returncode == 1
    assert "can't be" in done.stderr
    assert str(tmp_path / "file" / "store") in done.stderr
    assert done.stderr.count("\n") == 1


def test_wrong_usage_exits_with_2() -> None:
    assert subprocess.run([ONEGATE, "up"], capture_output=True, timeout=60).returncode == 2
    assert subprocess.run([ONEGATE, "nonsense"], capture_output=True, timeout=60).returncode == 2
