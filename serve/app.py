"""The Ray Serve applications that are always there: the controller and the gateway. Blocking; for the driver.

`build` gives both as one application, for those who deploy with Ray Serve's own config, as on Kubernetes.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

import msgspec
from ray import serve
from ray.serve import Application

from model_store.errors import ConfigError, Conflict
from serve.config import Config, load_config
from serve.control.deployments import SERVE_LOGGING, app_name, deployment_options, nodes, running_versions
from serve.control.gateways import GATEWAY_APP, GATEWAY_DEPLOYMENT, Gateways, on_head, on_node
from serve.controller import Controller, ControllerSettings
from serve.controller_link import CONTROLLER_APP, CONTROLLER_DEPLOYMENT
from serve.gateway import Gateway, GatewaySettings
from serve.launch.desired_state import write_generation
from serve.log_format import LogStyle
from serve.proxied_gateway import ProxiedGateway
from serve.store_policy import StorePolicy, store_policy
from serve.tls_files import server_files
from serve.tracing.settings import tracing_settings

POLL_S = 0.1

STOP_MARGIN_S = 5.0
"""How much longer Ray Serve waits for a gateway than the gateway waits for its last requests."""


def start_front(controller: ControllerSettings, gateway: GatewaySettings, gateways: Gateways) -> None:
    """Starts the controller and the gateways and returns when they run.

    Ray Serve's own proxies stay off. The controller is an application of its own, so that a new gateway spares it.
    """
    serve.start(proxy_location="Disabled", logging_config=SERVE_LOGGING)
    controller_app = _controller(controller, on_node(gateways.home))
    gateway_app = serve.deployment(
        Gateway,
        name=GATEWAY_DEPLOYMENT,
        **deployment_options(
            on_node(None if gateways.every_node else gateways.home),
            replicas=gateways.count,
            grace_s=gateway.drain_timeout_s + STOP_MARGIN_S,
        )
        | gateways.options(len(nodes())),
    ).bind(gateway)
    serve.run_many(
        [
            serve.RunTarget(controller_app, name=CONTROLLER_APP, route_prefix=None, logging_config=SERVE_LOGGING),
            serve.RunTarget(
                gateway_app,
                name=GATEWAY_APP,
                route_prefix=None,
                logging_config=SERVE_LOGGING,
                external_scaler_enabled=True,
            ),
        ]
    )


def build(arguments: dict[str, Any]) -> Application:
    """The application `onegate` of `serve deploy`; its name has to be that, its route prefix `/`.

    `arguments` are `config`, the path of onegate's config on the nodes, and `listen`, by default true: whether gateways
    open the config's ports themselves, beside what Ray Serve's HTTP proxies bring them. The config becomes the desired
    state of its store. Raises `ConfigError` and `StoreError`.
    """
    unknown = arguments.keys() - {"config", "listen"}
    if unknown or not isinstance(arguments.get("config"), str):
        raise ConfigError(
            f"serve.app:build: expected args 'config' and 'listen', got {', '.join(sorted(arguments)) or 'none'}"
        )
    config = load_config(Path(arguments["config"]))
    _refuse_open_management(config)
    policy = store_policy(config)
    write_generation(config)
    gateway, secret = config.gateway, secrets.token_hex(32)
    placed = Gateways(gateway.replicas, gateway.every_node)
    controller = ControllerSettings(
        config.store,
        secret,
        nodes_may_join=True,
        gateways_per_node=gateway.replicas if gateway.every_node else 0,
        app=GATEWAY_APP,
        policy=policy,
        log_style=log_style(config),
    )
    settings = msgspec.structs.replace(gateway_settings(config, policy, secret), controller_app=GATEWAY_APP)
    # On Ray's head a port-forward finds management, and nothing is lost with it that is not lost with the head.
    beside = _controller(controller, on_head())
    return serve.deployment(
        ProxiedGateway,
        name=GATEWAY_DEPLOYMENT,
        max_ongoing_requests=gateway.max_requests,
        **deployment_options(on_node(None), replicas=gateway.replicas, grace_s=gateway.drain_timeout_s + STOP_MARGIN_S)
        | placed.options(len(nodes())),
    ).bind(settings, beside, arguments.get("listen", True))


def _refuse_open_management(config: Config) -> None:
    # Whoever reaches Ray Serve's proxies reaches what the endpoint answers, whatever the config has for a host.
    if config.gateway.management_on_endpoint and "manage" in config.access.anonymous:
        raise ConfigError(
            "gateway.management_on_endpoint: management at Ray Serve's proxies needs a key; take 'manage' out of "
            "access.anonymous, and make one with `onegate keys create`"
        )


def _controller(settings: ControllerSettings, actor: dict[str, Any]) -> Application:
    return serve.deployment(
        Controller,
        name=CONTROLLER_DEPLOYMENT,
        # Each gateway holds a long poll and each replica a heartbeat; the default of 5 would block them.
        max_ongoing_requests=100_000,
        **deployment_options(actor, replicas=1, grace_s=STOP_MARGIN_S),
    ).bind(settings)


def gateway_settings(config: Config, policy: StorePolicy, secret: str, log_file: str | None = None) -> GatewaySettings:
    """What a gateway is started with, as the config says; `policy` is the config's too."""
    gateway = config.gateway
    return GatewaySettings(
        host=gateway.host,
        http_port=gateway.http_port,
        grpc_port=gateway.grpc_port,
        max_body_bytes=gateway.max_body_bytes,
        drain_timeout_s=gateway.drain_timeout_s,
        secret=secret,
        management_on_endpoint=gateway.management_on_endpoint,
        model_server=gateway.model_server,
        max_requests=gateway.max_requests,
        max_connections=gateway.max_connections,
        body_timeout_s=gateway.body_timeout_s,
        tls=server_files("gateway.tls", gateway.tls),
        cors_origins=tuple(gateway.cors_origins),
        model_memory_mib=gateway.model_memory_mib,
        log_file=log_file,
        log_style=log_style(config),
        access_log=config.logging.access,
        access_file=config.logging.access_file,
        tracing=tracing_settings(config.tracing),
        access=config.access,
        policy=policy,
    )


def log_style(config: Config) -> LogStyle:
    """What the lines of all processes look like."""
    return LogStyle(config.logging.format, config.logging.level)


def refuse_second() -> None:
    """Raises `Conflict` when the cluster runs onegate already."""
    if not serve.status().applications.keys().isdisjoint({CONTROLLER_APP, GATEWAY_APP}):
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
