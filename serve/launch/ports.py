"""The ports that a gateway is to listen on."""

from __future__ import annotations

import socket

from serve.config import Config
from serve.config_sections.gateway import port_url
from serve.launch.error import LaunchError


def listening_ports(config: Config) -> tuple[tuple[str, str, int], ...]:
    """Key below `gateway`, host and port of each."""
    gateway = config.gateway
    return (
        ("http_port", gateway.host, gateway.http_port),
        ("grpc_port", gateway.host, gateway.grpc_port),
        ("management_port", gateway.management_host, gateway.management_port),
    )


def check_ports(config: Config) -> None:
    """Raises `LaunchError` when somebody listens on a port already.

    The gateway's sockets share their port (SO_REUSEPORT), so a second gateway would quietly take half of the requests.
    """
    for key, host, port in listening_ports(config):
        check_port(key, host, port)


def check_port(key: str, host: str, port: int) -> None:
    """Raises `LaunchError` when nobody could listen there; `key` is where the config says so."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise LaunchError(
            f"gateway.{key}: {host}:{port} can't be used ({error.strerror}); "
            "end what listens there or set another port",
            port=port,
        ) from error


def management_url(config: Config) -> str:
    """Where this machine's own programs reach the management port."""
    gateway = config.gateway
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(gateway.management_host, gateway.management_host)
    return port_url(gateway.management_tls, host, gateway.management_port)
