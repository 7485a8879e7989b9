"""Where model replicas listen: `unix-abstract:NAME` for gateways of their node, `HOST:PORT` for others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TypeVar

_ABSTRACT = "unix-abstract:"

P = TypeVar("P", bound=asyncio.BaseProtocol)


def listening_socket(address: str) -> socket.socket:
    """A socket that listens there; raises `OSError` when it can't. Port 0 is any that is free."""
    if not address.startswith(_ABSTRACT):
        host, port = _host_and_port(address)
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    else:
        listening = socket.socket(socket.AF_UNIX)
        try:
            listening.bind(_name(address))
            listening.listen()
        except OSError:
            listening.close()
            raise
    listening.setblocking(False)
    return listening


async def connect(address: str, protocol: Callable[[], P]) -> P:
    """A connection to who listens there; raises `OSError` when nobody does."""
    loop = asyncio.get_running_loop()
    if not address.startswith(_ABSTRACT):
        return (await loop.create_connection(protocol, *_host_and_port(address)))[1]
    # By hand: uvloop takes such a name for an empty one.
    connecting = socket.socket(socket.AF_UNIX)
    connecting.setblocking(False)
    try:
        await loop.sock_connect(connecting, _name(address))
        return (await loop.create_unix_connection(protocol, sock=connecting))[1]
    except BaseException:
        connecting.close()
        raise


def _name(address: str) -> str:
    # A name that no file stands for begins with a zero (unix(7)).
    return f"\0{address.removeprefix(_ABSTRACT)}"


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
