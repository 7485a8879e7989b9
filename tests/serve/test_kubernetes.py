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
    "rayClusterConfig": {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs", "enableInTreeAutoscaling"},
    "headGroupSpec": {"serviceType", "headService", "rayStartParams", "template"},
    "workerGroupSpecs": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"},
}
"""Of `ray.io/v1`, as far as they are of use here: the JSON names in KubeRay's ray-operator/apis/ray/v1, files
rayservice_types.go and raycluster_types.go."""
PROBE = {"exec", "httpGet", "initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold"}
CONTAINER = {
    "name", "image", "securityContext", "ports", "resources", "volumeMounts", "readinessProbe", "livenessProbe",
}  # fmt: skip
"""Of Kubernetes' own Probe and Container."""


@cache
def documents() -> tuple[dict[str, Any], ...]:
    return tuple(each for path in sorted(FOLDER.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text()))


def the(kind: str) -> dict[str, Any]:
    (found,) = all_of(kind)
    return found


def all_of(kind: str) -> list[dict[str, Any]]:
    return [each for each in documents() if each["kind"] == kind]


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = (each for each in all_of(kind) if each["metadata"]["name"] == name)
    return found


def finds(selector: dict[str, str]) -> list[str]:
    """The groups of pods that have these labels; the head's is called `head`."""
    names = ["head", *(group["groupName"] for group in cluster()["workerGroupSpecs"])]
    pairs = zip(names, groups(), strict=True)
    return [name for name, group in pairs if selector.items() <= group["template"]["metadata"]["labels"].items()]


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
    names = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in documents()]
    assert names == [
        ("v1", "Service", "onegate-management"),
        ("monitoring.coreos.com/v1", "ServiceMonitor", "onegate"),
        ("networking.k8s.io/v1", "NetworkPolicy", "onegate"),
        ("networking.k8s.io/v1", "NetworkPolicy", "onegate-clients"),
        ("networking.k8s.io/v1", "NetworkPolicy", "onegate-management"),
        ("v1", "ConfigMap", "onegate"),
        ("v1", "PersistentVolumeClaim", "onegate-store"),
        ("ray.io/v1", "RayService", "onegate"),
        ("v1", "Service", "onegate-endpoint"),
        ("policy/v1", "PodDisruptionBudget", "onegate"),
    ]


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
        assert mounts == {"config": str(path.parent), "store": served_config().store, "tmp": "/tmp"}
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
    endpoint = named("Service", "onegate-endpoint")
    assert {each["name"]: each["port"] for each in endpoint["spec"]["ports"]} == wanted


def test_clients_are_led_to_gateways_and_prometheus_to_the_controller() -> None:
    assert finds(named("Service", "onegate-endpoint")["spec"]["selector"]) == ["cpus", "gpus"]
    assert finds(the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]) == ["cpus", "gpus"]
    management, monitor = named("Service", "onegate-management"), the("ServiceMonitor")["spec"]
    assert finds(management["spec"]["selector"]) == ["head"]
    assert monitor["selector"]["matchLabels"].items() <= management["metadata"]["labels"].items()
    (port,), (endpoint,) = management["spec"]["ports"], monitor["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
    (head,) = cluster()["headGroupSpec"]["template"]["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in head["ports"]}
    assert ports[port["targetPort"]] == port["port"] == served_config().gateway.management_port


def test_management_that_others_reach_takes_a_key() -> None:
    config = served_config()
    assert config.gateway.management_host == "0.0.0.0"
    assert "manage" not in config.access.anonymous


@pytest.mark.parametrize(
    ("policy", "pods", "ports"),
    [
        ("onegate", ["head", "cpus", "gpus"], [None, {8265, 8000}]),
        ("onegate-clients", ["cpus", "gpus"], [{8080, 8081}]),
        ("onegate-management", ["head"], [{8082}]),
    ],
)
def test_each_port_is_open_to_those_who_need_it(policy: str, pods: list[str], ports: list[set[int] | None]) -> None:
    spec = named("NetworkPolicy", policy)["spec"]
    assert finds(spec["podSelector"]["matchLabels"]) == pods
    opened = [{each["port"] for each in rule["ports"]} if "ports" in rule else None for rule in spec["ingress"]]
    assert opened == ports
    # A rule without ports is for the cluster's own pods alone.
    own = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "onegate"}}}]
    assert [rule["from"] for rule in spec["ingress"] if "ports" not in rule] == [own] * ports.count(None)


def test_no_pod_has_rights_that_it_does_not_need() -> None:
    for group in groups():
        spec = group["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]
    assert cluster()["authOptions"] == {"mode": "token"}


def test_the_image_runs_ray_of_its_own_version_as_its_own_user() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    ((user, own_group),) = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.M)
    for group in groups():
        context = group["template"]["spec"]["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(own_group))
        assert context["fsGroup"] == int(own_group)
    assert cluster()["rayVersion"] == version("ray")
    (project,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    images = [container["image"] for container in containers()]
    assert images == [f"onegate:{project}", f"onegate:{project}", f"onegate:{project}-gpu"]


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
