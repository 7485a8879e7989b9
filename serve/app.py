"""The Ray Serve applications that are always there: the controller and the gateway. Blocking; for the driver."""

from __future__ import annotations

import time

from ray import serve

from model_store.errors import Conflict
from serve.controller import Controller, ControllerSettings
from serve.controller_link import CONTROLLER_APP, CONTROLLER_DEPLOYMENT
from serve.deployments import SERVE_LOGGING, app_name, deployment_options, running_versions
from serve.gateway import Gateway, GatewaySettings

GATEWAY_APP = "onegate"
GATEWAY_DEPLOYMENT = "Gateway"

POLL_S = 0.1

STOP_MARGIN_S = 5.0
"""How much longer Ray Serve waits for a gateway than the gateway waits for its last requests."""


def start_front(controller: ControllerSettings, gateway: GatewaySettings, gateways: int) -> None:
    """Starts the controller and `gateways` gateway replicas and returns when they run.

    Ray Serve's own proxies stay off. The controller is an application of its own, so that a new gateway spares it.
    """
    serve.start(proxy_location="Disabled", logging_config=SERVE_LOGGING)
    controller_app = serve.deployment(
        Controller,
        name=CONTROLLER_DEPLOYMENT,
        # Each gateway holds a long poll and each replica a heartbeat; the default of 5 would block them.
        max_ongoing_requests=100_000,
        **deployment_options(cpus=0, replicas=1, grace_s=STOP_MARGIN_S),
    ).bind(controller)
    gateway_app = serve.deployment(
        Gateway,
        name=GATEWAY_DEPLOYMENT,
        **deployment_options(cpus=0, replicas=gateways, grace_s=gateway.drain_timeout_s + STOP_MARGIN_S),
    ).bind(gateway)
    serve.run_many(
        [
            serve.RunTarget(controller_app, name=CONTROLLER_APP, route_prefix=None, logging_config=SERVE_LOGGING),
            serve.RunTarget(gateway_app, name=GATEWAY_APP, route_prefix=None, logging_config=SERVE_LOGGING),
        ]
    )


def refuse_second() -> None:
    """Raises `Conflict` when the cluster runs onegate already."""
    if CONTROLLER_APP in serve.status().applications:
        raise Conflict(
            "this Ray cluster runs onegate already; change it with `onegate apply`, end it with `onegate down`"
        )


def stop_front(timeout_s: float) -> None:
    """Drains the gateway: returns when its last request is answered, or after `timeout_s`."""
    _delete([GATEWAY_APP], timeout_s)


def delete_all_versions(timeout_s: float) -> None:
    """Ends the controller and all versions, and leaves other applications of a shared cluster alone."""
    _delete([CONTROLLER_APP], timeout_s)
    _delete([app_name(key) for key in running_versions()], timeout_s)


def _delete(names: list[str], timeout_s: float) -> None:
    # Ray Serve's own waiting gives up after a minute.
    for name in names:
        serve.delete(name, _blocking=False)
    end = time.monotonic() + timeout_s
    while time.monotonic() < end and not serve.status().applications.keys().isdisjoint(names):
        time.sleep(POLL_S)
