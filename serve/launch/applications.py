"""The controller and the gateway as applications of the Ray that is connected."""

from __future__ import annotations

from pathlib import Path

from serve.config import Config
from serve.launch.error import LaunchError
from serve.store_policy import StorePolicy


def start_applications(config: Config, policy: StorePolicy, log_file: Path | None, secret: str) -> None:
    """Starts controller and gateway in the Ray that is connected, and returns when they run.

    `policy` is the config's. `log_file` collects the log lines of a local Ray's processes; None stands for a cluster of
    several nodes. `secret` is what they know each other by.
    """
    from serve.app import gateway_settings, log_style, refuse_second, start_front
    from serve.control.gateways import Gateways
    from serve.controller import ControllerSettings

    gateway = config.gateway
    log_path = str(log_file) if log_file else None
    refuse_second()
    try:
        start_front(
            ControllerSettings(
                config.store,
                secret,
                nodes_may_join=log_file is None,
                log_file=log_path,
                gateways_per_node=gateway.replicas if gateway.every_node else 0,
                policy=policy,
                log_style=log_style(config),
            ),
            gateway_settings(config, policy, secret, log_path),
            Gateways(gateway.replicas, gateway.every_node, None if log_file else own_node()),
        )
    except RuntimeError as error:
        raise LaunchError(f"the gateway did not start: {' '.join(str(error).split())[:500]}") from error


def own_node() -> str:
    """Ray's id of the node where this process runs. Management, which listens on loopback, has to be there."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def stop_applications(config: Config, *, local: bool) -> None:
    """Drains the gateway. In a shared cluster, ends onegate's other applications too; a local Ray ends as a whole."""
    from serve.app import STOP_MARGIN_S, delete_all_versions, stop_front

    timeout_s = config.gateway.drain_timeout_s + 2 * STOP_MARGIN_S
    stop_front(timeout_s)
    if not local:
        delete_all_versions(timeout_s)
