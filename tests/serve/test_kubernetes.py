"""The manifests that are shipped: they parse, their fields exist, and they agree with the image and the config."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from model_store.errors import ConfigError
from serve.app import build
from serve.config import parse_config
from serve.control.gateways import GATEWAY_APP

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs/kubernetes"

FIELDS = {
    "spec": {"serveConfigV2", "rayClusterConfig"},
    "rayClusterConfig": {"rayVersion", "headGroupSpec", "workerGroupSpecs", "enableInTreeAutoscaling"},
    "headGroupSpec": {"serviceType", "headService", "rayStartParams", "template"},
    "workerGroupSpecs": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"},
}
"""Of `ray.io/v1`, as far as they are of use here: the JSON names in KubeRay's ray-operator/apis/ray/v1, files
rayservice_types.go and raycluster_types.go."""
PROBE = {"exec", "httpGet", "initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold"}
CONTAINER = {"name", "image", "ports", "resources", "volumeMounts", "readinessProbe", "livenessProbe"}
"""Of Kubernetes' own Probe and Container."""


@cache
def documents() -> tuple[dict[str, Any], ...]:
    return tuple(each for path in sorted(FOLDER.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text()))


def the(kind: str) -> dict[str, Any]:
    (found,) = (each for each in documents() if each["kind"] == kind)
    return found


def cluster() -> dict[str, Any]:
    found: dict[str, Any] = the("RayService")["spec"]["rayClusterConfig"]
    return found


def groups() -> list[dict[str, Any]]:
    return [cluster()["headGroupSpec"], *cluster()["workerGroupSpecs"]]


def containers() -> list[dict[str, Any]]:
    return [each for group in groups() for each in group["template"]["spec"]["containers"]]


def served_config() -> Any:
    return parse_config(the("ConfigMap")["data"]["onegate.yaml"], "onegate.yaml", Path("/config"))


def test_the_documents_are_what_a_cluster_needs() -> None:
    kinds = ["ConfigMap", "PersistentVolumeClaim", "RayService", "Service"]
    assert [each["kind"] for each in documents()] == kinds
    assert {each["apiVersion"] for each in documents()} == {"v1", "ray.io/v1"}


def test_fields_are_those_of_kuberay() -> None:
    assert the("RayService")["spec"].keys() <= FIELDS["spec"]
    assert cluster().keys() <= FIELDS["rayClusterConfig"]
    assert cluster()["headGroupSpec"].keys() <= FIELDS["headGroupSpec"]
    for group in cluster()["workerGroupSpecs"]:
        assert group.keys() <= FIELDS["workerGroupSpecs"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for container in containers():
        assert container.keys() <= CONTAINER
        assert container["readinessProbe"].keys() | container["livenessProbe"].keys() <= PROBE
    for group in groups():
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_the_serve_config_is_one_and_names_the_builder() -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load(the("RayService")["spec"]["serveConfigV2"]))
    (application,) = config.applications
    assert (application.name, application.route_prefix) == (GATEWAY_APP, "/")
    assert application.import_path == f"{build.__module__}:{build.__name__}"
    assert application.external_scaler_enabled
    assert config.http_options.port == 8000


def test_the_config_is_found_where_it_is_mounted() -> None:
    config = yaml.safe_load(the("RayService")["spec"]["serveConfigV2"])
    path = Path(config["applications"][0]["args"]["config"])
    assert path.name in the("ConfigMap")["data"]
    for group in groups():
        spec = group["template"]["spec"]
        mounts = {each["name"]: each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
        volumes = {each["name"]: each for each in spec["volumes"]}
        assert mounts == {"config": str(path.parent), "store": served_config().store}
        assert volumes["config"]["configMap"]["name"] == the("ConfigMap")["metadata"]["name"]
        claim = volumes["store"]["persistentVolumeClaim"]["claimName"]
        assert claim == the("PersistentVolumeClaim")["metadata"]["name"]


def test_ports_are_those_of_the_config() -> None:
    gateway = served_config().gateway
    assert (gateway.host, gateway.every_node) == ("0.0.0.0", True)
    wanted = {"http": gateway.http_port, "grpc": gateway.grpc_port}
    for group in cluster()["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        assert {each["name"]: each["containerPort"] for each in container["ports"]} == wanted
        assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": gateway.http_port}
    assert {each["name"]: each["port"] for each in the("Service")["spec"]["ports"]} == wanted


def test_the_service_finds_the_pods_that_have_gateways() -> None:
    selector = the("Service")["spec"]["selector"].items()
    assert all(selector <= group["template"]["metadata"]["labels"].items() for group in cluster()["workerGroupSpecs"])
    assert "metadata" not in cluster()["headGroupSpec"]["template"]


def test_the_image_runs_ray_of_its_own_version_as_its_own_user() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    (user,) = re.findall(r"^USER (\d+)$", dockerfile, re.M)
    assert {group["template"]["spec"]["securityContext"]["fsGroup"] for group in groups()} == {int(user)}
    assert cluster()["rayVersion"] == version("ray")
    (project,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert {container["image"] for container in containers()} == {f"onegate:{project}"}


@pytest.mark.parametrize("arguments", [{}, {"config": "/c.yaml", "other": 1}, {"config": 3}])
def test_the_builder_refuses_other_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^serve\.app:build: expected args 'config' and 'listen'"):
        build(arguments)


def test_management_through_ray_serve_s_proxies_needs_a_key(tmp_path: Path) -> None:
    """They listen for everybody, though the gateway's own port would not."""
    config = tmp_path / "onegate.yaml"
    config.write_text("store: store\nmodels: []\ngateway: {management_on_endpoint: true}\n")
    with pytest.raises(ConfigError, match="management at Ray Serve's proxies needs a key"):
        build({"config": str(config)})
    assert not (tmp_path / "store").exists()
