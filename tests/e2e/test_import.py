"""Other servers' folders, imported or as they are, served under the names and versions that clients have."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.e2e import exports
from tests.e2e.models import body, write_multiplier
from tests.e2e.running import ONEGATE, free_ports, get, running
from tests.serve.importing_trees import write_onnx


def imported(path: Path) -> dict[str, Any]:
    """The config as written, without the old ports: these tests run beside others."""
    output = path.parent / "imported.yaml"
    done = subprocess.run([ONEGATE, "import", path, "--output", output], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    config: dict[str, Any] = yaml.safe_load(output.read_text())
    del config["gateway"]
    return config


def multiplied(url: str) -> list[float]:
    status, answer = get(url, body(1.0), {"content-type": "application/json"})
    assert status == 200, answer
    return json.loads(answer)["outputs"][0]["data"]  # type: ignore[no-any-return]


def test_a_triton_repository_answers_under_its_names_and_versions(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for number in (3, 12):
        (repository / f"net/{number}").mkdir(parents=True)
        write_multiplier(repository / f"net/{number}/model.onnx", number)
    (repository / "net/config.pbtxt").write_text(
        'name: "net" platform: "onnxruntime_onnx" max_batch_size: 8 version_policy { all { } }'
    )
    (repository / "plain/1").mkdir(parents=True)
    write_multiplier(repository / "plain/1/model.onnx", 5)
    with running(tmp_path, imported(repository)) as gateway:
        gateway.wait_until_settled()
        models = f"{gateway.url}/v2/models"
        assert multiplied(f"{models}/net/infer") == [12.0, 12.0]
        assert multiplied(f"{models}/net/versions/3/infer") == [3.0, 3.0]
        assert multiplied(f"{models}/net/versions/12/infer") == [12.0, 12.0]
        assert multiplied(f"{models}/plain/versions/1/infer") == [5.0, 5.0]
        metadata = json.loads(get(f"{models}/net")[1])
        assert (metadata["name"], metadata["versions"]) == ("net", ["3", "12"])


def test_tensorflow_servings_models_config_answers_under_its_names_versions_and_labels(tmp_path: Path) -> None:
    folder = tmp_path / "serving"
    exports.write("savedmodel", folder / "scale/41")
    for number in (1, 2):
        (folder / f"net/{number}").mkdir(parents=True)
        write_multiplier(folder / f"net/{number}/net.onnx", number)
    (folder / "models.config").write_text(
        """model_config_list {
          config { name: "scale" base_path: "/models/scale" model_platform: "tensorflow" }
          config { name: "net" base_path: "/models/net" model_version_policy { all { } }
                   version_labels { key: "stable" value: 1 } }
        }"""
    )
    with running(tmp_path, imported(folder)) as gateway:
        gateway.wait_until_settled()
        models = f"{gateway.url}/v1/models"

        def predict(path: str, row: list[float]) -> Any:
            status, answer = get(f"{models}/{path}:predict", json.dumps({"instances": [row]}).encode())
            assert status == 200, answer
            return json.loads(answer)["predictions"]

        assert predict("scale/versions/41", [1.0, 2.0, 3.0]) == [[2.0, 4.0, 6.0]]
        assert predict("net", [1.0, 3.0]) == [[2.0, 6.0]]
        assert predict("net/versions/1", [1.0, 3.0]) == [[1.0, 3.0]]
        assert predict("net/labels/stable", [1.0, 3.0]) == [[1.0, 3.0]]
        assert get(f"{models}/net/versions/3:predict", b'{"instances": [[1.0, 3.0]]}')[0] == 404


def test_a_repository_is_served_as_it_is_and_a_version_that_came_is_applied(tmp_path: Path) -> None:
    write_onnx(tmp_path / "models/net/3/model.onnx", 3)
    names = ("http_port", "grpc_port", "management_port")
    ports = dict(zip(names, free_ports(3), strict=True))
    environment = {f"ONEGATE_GATEWAY_{name.upper()}": str(port) for name, port in ports.items()}
    with running(tmp_path, {"gateway": ports}, environment=environment, serves="models") as gateway:
        gateway.wait_until_settled()
        assert "onegate: models: read as a configuration of another server" in gateway.log.read_text()
        net = f"{gateway.url}/v2/models/net"
        assert multiplied(f"{net}/versions/3/infer") == [3.0, 3.0]
        write_onnx(tmp_path / "models/net/4/model.onnx", 4)
        done = gateway.command("apply", "models", "--plan")
        assert done.stdout.splitlines()[-1] == "Plan: 1 to change", done.stderr
        assert gateway.command("apply", "models").returncode == 0
        assert multiplied(f"{net}/infer") == [4.0, 4.0]
        assert gateway.command("apply", "models", "--plan", "--exit-code").returncode == 0
