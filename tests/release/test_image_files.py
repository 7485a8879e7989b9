"""The files that images are made and run with; `make image-check` builds and runs one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve.config import Config, load_config

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "configs/compose.yaml"


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def served() -> Config:
    return load_config(ROOT / "configs/container.yaml")


@pytest.mark.skipif(
    shutil.which("hadolint", path=str(Path(sys.executable).parent)) is None,
    reason="hadolint has no wheel for this machine",
)
def test_the_dockerfile_has_no_findings() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_last_stage_is_the_image_for_cpus() -> None:
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert stages[-2:] == [("system", "gpu"), ("system", "cpu")]
    assert {base for base, _ in stages} == {"${BASE}", "wheel", "packages", "system"}


def test_image_and_project_have_one_version() -> None:
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert re.findall(r"^ARG VERSION=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE) == [version]
    assert services()["onegate"]["image"] == f"onegate:{version}"


def test_both_builds_of_onnx_runtime_are_of_one_release() -> None:
    pins = dict(re.findall(r"^(onnxruntime(?:-gpu)?)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert len(pins) == 2
    assert len(set(pins.values())) == 1


def test_the_config_for_containers_is_reached_from_outside_and_finds_its_models() -> None:
    config = served()
    assert (config.gateway.host, config.gateway.management_host) == ("0.0.0.0", "127.0.0.1")
    mounts = {target: source for source, target, *_ in (each.split(":") for each in services()["onegate"]["volumes"])}
    assert mounts[config.store] == "store"
    folder = (COMPOSE.parent / mounts["/models"]).resolve()
    for name in ("digits-mlp.onnx", "cifar-symbol.json", "cifar-labels.txt"):
        assert (folder / name).is_file()


def test_every_mounted_file_of_the_repository_exists() -> None:
    sources = [each.split(":")[0] for service in services().values() for each in service["volumes"]]
    paths = [COMPOSE.parent / source for source in sources if source.startswith(".")]
    assert len(paths) == 7
    assert [path for path in paths if not path.exists()] == []


def test_services_write_to_volumes_only_and_listen_on_loopback_only() -> None:
    for name, service in services().items():
        assert service["read_only"], name
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_there_is_time_to_drain() -> None:
    assert services()["onegate"]["stop_grace_period"] == "45s"
    assert served().gateway.drain_timeout_s < 45


def test_prometheus_asks_management_where_it_listens_and_grafana_asks_prometheus() -> None:
    assert services()["prometheus"]["network_mode"] == "service:onegate"
    scraping = yaml.safe_load((ROOT / "configs/observability/prometheus.yaml").read_text())
    (job,) = scraping["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{served().gateway.management_port}"]}]
    targets = [each["target"] for each in services()["prometheus"]["configs"]]
    assert targets == [f"/etc/prometheus/{job['authorization']['credentials_file']}"]
    (source,) = yaml.safe_load((ROOT / "configs/observability/grafana/datasource.yaml").read_text())["datasources"]
    assert source["url"] == "http://onegate:9090"
    (folder,) = yaml.safe_load((ROOT / "configs/observability/grafana/dashboards.yaml").read_text())["providers"]
    dashboards = folder["options"]["path"]
    assert [each for each in services()["grafana"]["volumes"] if f":{dashboards}/" in each] != []
