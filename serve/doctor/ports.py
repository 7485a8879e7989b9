"""Whether the ports of a gateway are free, and who holds them where they are not."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import psutil

from serve.config import Config
from serve.doctor.finding import Finding, ok, problem
from serve.launch.error import LaunchError
from serve.launch.ports import check_port, listening_ports


def check_ports(config: Config, own: Collection[int] = ()) -> Iterator[Finding]:
    """The three ports of `config`. `own` are those of a gateway that runs already, which may hold them."""
    for key, host, port in listening_ports(config):
        place = f"{host}:{port} (gateway.{key})"
        try:
            check_port(key, host, port)
        except LaunchError as error:
            holder = _holder(port)
            if port in own:
                yield ok("ports", f"{place} belongs to the running gateway")
            elif holder is not None:
                yield problem("ports", f"{place} is held by {holder}", f"end it, or set another gateway.{key}")
            else:
                yield problem("ports", error.message, "look for who holds it: ss -ltnp, as root")
        else:
            yield ok("ports", f"{place} is free")


def _holder(port: int) -> str | None:
    """The process that listens there, as far as this user may see it."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return None
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        if listens and connection.pid is not None:
            try:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
            except psutil.Error:
                return f"process {connection.pid}"
    return None
