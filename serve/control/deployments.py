"""The Ray Serve applications of versions: one each, with the deployment `Model`. Blocking; for threads."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import ray
from ray import serve

from serve.control.placement import place
from serve.replica import Model, ModelSettings
from serve.routing import VersionKey

MODEL_DEPLOYMENT = "Model"

HEALTH_CHECK_S = 1.0
"""Ray Serve's default of 10 s would leave a killed replica unnoticed for as long."""

HEALTH_TIMEOUT_S = 5
"""A replica that does not answer Ray Serve for so long, three times in a row, is replaced: one that was stopped, or
whose event loop is. Ray Serve gives it 30 s each time by default."""

SERVE_LOGGING = {"log_level": "WARNING", "enable_access_log": False}

_TROUBLE = ("DEPLOY_FAILED", "UNHEALTHY")
_UNPLACED = re.compile(r"Resources required for each replica: (\{.*?\}), total resources available: (\{.*?\})")
_APP_NAME = re.compile(r"(.+)-v([1-9][0-9]*)")


def deploy_version(settings: ModelSettings, replicas: int) -> None:
    """Creates the application of a version, or replaces its replicas by ones with other settings; does not wait.

    Raises `ModelNotReady` when no node of a Ray that stays as it is can hold a replica.
    """
    entry = settings.entry
    placement = place(entry.serve, None if settings.nodes_may_join else nodes())
    app = serve.deployment(
        Model,
        name=MODEL_DEPLOYMENT,
        **deployment_options(placement.options, replicas=replicas, grace_s=settings.grace_s + 5),
    ).bind(msgspec.structs.replace(settings, no_gpu=placement.no_gpu))
    target = serve.RunTarget(
        app,
        name=app_name(entry.key),
        route_prefix=None,
        logging_config=SERVE_LOGGING,
        external_scaler_enabled=True,
    )
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)


def scale_version(key: VersionKey, replicas: int) -> None:
    """Sets the number of replicas of a running application. Deploying again would replace them all."""
    scale_deployment(app_name(key), MODEL_DEPLOYMENT, replicas)


def scale_deployment(app: str, deployment: str, replicas: int) -> None:
    """The same for any deployment of an application that was started with `external_scaler_enabled`."""
    # What Ray Serve's own REST call for external scalers does; there is no public function for it.
    from ray.serve._private.common import DeploymentID
    from ray.serve.context import _get_global_client

    deployment_id = DeploymentID(name=deployment, app_name=app)
    ray.get(_get_global_client()._controller.update_deployment_replicas.remote(deployment_id, replicas))


def delete_version(key: VersionKey) -> None:
    """Begins to delete the application of a version; its replicas end what they have."""
    serve.delete(app_name(key), _blocking=False)


class RunningVersion(msgspec.Struct, frozen=True):
    """What Ray Serve says of a version's application: whether it is being deleted, why it can't run, if so, and what it
    has been waiting for."""

    deleting: bool
    trouble: str | None
    waiting: str | None = None


def running_versions() -> dict[VersionKey, RunningVersion]:
    """The applications of versions, of this controller or an earlier one."""
    found = {}
    for name, app in serve.status().applications.items():
        parts = _APP_NAME.fullmatch(name)
        if parts and set(app.deployments) <= {MODEL_DEPLOYMENT}:
            found[(parts[1], int(parts[2]))] = RunningVersion(app.status == "DELETING", _trouble(app), _waiting(app))
    return found


def app_name(key: VersionKey) -> str:
    """The name in Ray of a version's application."""
    return f"{key[0]}-v{key[1]}"


def nodes() -> list[dict[str, float]]:
    """What each living node of Ray has in all, by the names of its resources."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def deployment_options(actor: dict[str, Any], replicas: int, grace_s: float) -> dict[str, Any]:
    """Options that every deployment of onegate has; `actor` are Ray's for each replica, `grace_s` is how long one may
    take to stop."""
    return {
        "num_replicas": replicas,
        "ray_actor_options": actor,
        "health_check_period_s": HEALTH_CHECK_S,
        "health_check_timeout_s": HEALTH_TIMEOUT_S,
        "graceful_shutdown_timeout_s": grace_s,
        "graceful_shutdown_wait_loop_s": 0.1,
    }


def _trouble(app: Any) -> str | None:
    if app.status not in _TROUBLE:
        return None
    return _told(app) or " ".join(app.message.split())[:500]


def _waiting(app: Any) -> str | None:
    """Said of replicas that Ray has found no node for in half a minute."""
    told = _told(app) if app.status == "DEPLOYING" else ""
    found = _UNPLACED.search(told)
    return f"waits for a node with {found[1]}; free in all Ray: {found[2]}" if found else None


def _told(app: Any) -> str:
    messages = [deployment.message for deployment in app.deployments.values() if deployment.message]
    return " ".join(" ".join(messages).split())[:500]
