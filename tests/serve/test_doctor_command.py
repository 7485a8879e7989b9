"""`onegate doctor`: text, JSON, exit codes, and a gateway that runs already."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from serve.cli import main
from tests.e2e.running import free_ports
from tests.serve.importing_trees import write_onnx, write_text
from tests.serve.management_port import management_port


def config(folder: Path, ports: list[int], **keys: object) -> Path:
    gateway = dict(zip(("http_port", "grpc_port", "management_port"), ports, strict=True))
    file = folder / "onegate.yaml"
    file.write_text(yaml.safe_dump({"store": "store", "gateway": gateway, "models": []} | keys))
    return file


@pytest.fixture(autouse=True)
def nobody_runs(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    monkeypatch.setenv("ONEGATE_MANAGEMENT", f"http://127.0.0.1:{free_port}")


@pytest.fixture
def short_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, words)])


@pytest.mark.usefixtures("short_temporary_folder")
def test_findings_are_printed_with_what_to_do(tmp_path: Path) -> None:
    ports = free_ports(3)
    file = config(tmp_path, ports, models=[{"name": "m", "source": "absent.onnx"}])
    with socket.create_server(("127.0.0.1", ports[0])):
        result = run("--config", file)
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert f"    127.0.0.1:{ports[0]} (gateway.http_port) is held by" in result.output.replace(
        "PROBLEM  ports      ", ""
    )
    assert lines[lines.index(next(line for line in lines if " is held by " in line)) + 1] == (
        f"{'':24}-> end it, or set another gateway.http_port"
    )
    assert any(line.startswith("PROBLEM  sources        model 'm': ") for line in lines)
    assert lines[-1].endswith(" warnings, 2 problems")


@pytest.mark.usefixtures("short_temporary_folder")
def test_a_machine_that_is_ready_exits_with_0_and_prints_json(tmp_path: Path) -> None:
    result = run("--config", config(tmp_path, free_ports(3)), "--json")
    told = json.loads(result.output)
    assert [finding for finding in told["findings"] if finding["level"] == "problem"] == []
    assert (result.exit_code, told["problem"]) == (0, 0)
    assert {"python", "packages", "ray", "ports", "cpus", "memory", "shared memory", "open files", "disk", "clock",
            "gpu", "store", "sources", "access"} <= {finding["check"] for finding in told["findings"]}  # fmt: skip
    assert not (tmp_path / "store").exists()


def test_a_wrong_config_is_a_problem_among_the_others(tmp_path: Path) -> None:
    (tmp_path / "onegate.yaml").write_text("modles: []\n")
    result = run("--config", tmp_path / "onegate.yaml", "--json")
    first, *rest = json.loads(result.output)["findings"]
    assert (result.exit_code, first["check"], first["level"], "modles" in first["text"]) == (
        1,
        "config",
        "problem",
        True,
    )
    assert rest[0]["check"] == "python"


@pytest.mark.usefixtures("short_temporary_folder")
@pytest.mark.parametrize("asks_for_a_key", [False, True])
def test_the_ports_of_a_gateway_that_runs_where_the_config_says_are_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asks_for_a_key: bool
) -> None:
    monkeypatch.delenv("ONEGATE_MANAGEMENT")
    http, grpc = free_ports(2)
    with management_port() as port, socket.create_server(("127.0.0.1", http)):
        number = int(port.url.rpartition(":")[2])
        gateway = {"http": f"http://127.0.0.1:{http}", "grpc": f"127.0.0.1:{grpc}", "management": port.url}
        refusal = 401, {"error": "expected a key", "kind": "Unauthenticated"}
        port.answers["/api/state"] = refusal if asks_for_a_key else {"gateway": gateway}
        result = run("--config", config(tmp_path, [http, grpc, number]))
    assert (result.exit_code, result.output.count("belongs to the running gateway")) == (0, 2)


@pytest.mark.usefixtures("short_temporary_folder")
def test_another_servers_repository_is_checked_as_it_would_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_onnx(Path("models/net/3/model.onnx"))
    result = run("--config", "models", "--json")
    assert "onegate: models: read as a configuration of another server" in result.stderr
    told = {finding["check"]: finding["text"] for finding in json.loads(result.stdout)["findings"]}
    assert told["sources"] == "1 models; 1 local sources are there"


@pytest.mark.usefixtures("short_temporary_folder")
def test_what_can_not_be_read_of_another_server_is_a_finding(tmp_path: Path) -> None:
    result = run("--config", write_text(tmp_path / "config.properties", "models={\n"), "--json")
    assert result.exit_code == 1
    [found] = [each for each in json.loads(result.stdout)["findings"] if each["check"] == "config"]
    assert found["text"].startswith("config.properties: models: expected JSON")
