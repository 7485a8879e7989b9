"""The Ray Serve applications of versions: one each, with the deployment `Model`. Blocking; for threads."""

from __future__ import annotations

from typing import Any

from ray import serve

from serve.replica import Model, ModelSettings
from serve.routing import VersionKey

MODEL_DEPLOYMENT = "Model"

HEALTH_CHECK_S = 1.0
"""Ray Serve's default of 10 s would leave a killed replica unnoticed for as long."""

SERVE_LOGGING = {"log_level": "WARNING", "enable_access_log": False}


def deploy_version(settings: ModelSettings) -> None:
    """Creates or changes the application of a version; returns before its replicas run."""
    entry = settings.entry
    app = serve.deployment(
        Model,
        name=MODEL_DEPLOYMENT,
        **deployment_options(cpus=entry.serve.cpus, replicas=entry.serve.replicas, grace_s=settings.grace_s + 5),
    ).bind(settings)
    serve.run_many(
        [serve.RunTarget(app, name=app_name(entry.key), route_prefix=None, logging_config=SERVE_LOGGING)],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )


def delete_version(key: VersionKey) -> None:
    """Begins to delete the application of a version; its replicas end what they have."""
    serve.delete(app_name(key), _blocking=False)


def version_trouble(key: VersionKey) -> str | None:
    """What Ray Serve says of a version's application that can't start, None while all is well."""
    app = serve.status().applications.get(app_name(key))
    if app is None or app.status not in ("DEPLOY_FAILED", "UNHEALTHY"):
        return None
    messages = [deployment.message for deployment in app.deployments.values() if deployment.message]
    return " ".join(" ".join(messages or [app.message]).split())[:500]


def app_name(key: VersionKey) -> str:
    """The name in Ray of a version's application."""
    return f"{key[0]}-v{key[1]}"


def deployment_options(cpus: int, replicas: int, grace_s: float) -> dict[str, Any]:
    """Options that every deployment of onegate has; `grace_s` is how long one may take to stop."""
    return {
        "num_replicas": replicas,
        "ray_actor_options": {"num_cpus": cpus},
        "health_check_period_s": HEALTH_CHECK_S,
        "health_check_timeout_s": 10,
        "graceful_shutdown_timeout_s": grace_s,
        "graceful_shutdown_wait_loop_s": 0.1,
    }
