"""Where model replicas listen: `unix-abstract:NAME` for gateways of their node, `HOST:PORT` for others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TypeVar

_ABSTRACT = "unix-abstract:"

_SILENT_S = 20
"""Of another node: sent bytes that it does not confirm for so long, or as long a silence that it does not end when it
is asked, are the end of a connection."""

P = TypeVar("P", bound=asyncio.BaseProtocol)


def listening_socket(address: str) -> socket.socket:
    """A socket that listens there; raises `OSError` when it can't. Port 0 is any that is free."""
    listening, where = _socket(address)
    try:
        # A port whose last connections have only just ended; not one that somebody listens on.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


async def connect(address: str, protocol: Callable[[], P]) -> P:
    """A connection to who listens there; raises `OSError` when nobody does."""
    loop = asyncio.get_running_loop()
    # By hand: uvloop takes an abstract name for an empty one.
    connecting, where = _socket(address)
    try:
        await loop.sock_connect(connecting, where)
        create = loop.create_unix_connection if isinstance(where, str) else loop.create_connection
        return (await create(protocol, sock=connecting))[1]
    except BaseException:
        connecting.close()
        raise


def _socket(address: str) -> tuple[socket.socket, str | tuple[str, int]]:
    """A socket of the address's family, and the address as it takes it."""
    if address.startswith(_ABSTRACT):
        made, where = socket.socket(socket.AF_UNIX), _name(address)
        made.setblocking(False)
        return made, where
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setblocking(False)
    # Accepted connections have them of the socket that listens (tcp(7)).
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_NODELAY, 1),
        (socket.TCP_KEEPIDLE, _SILENT_S),
        (socket.TCP_KEEPINTVL, _SILENT_S // 4),
        (socket.TCP_KEEPCNT, 4),
        (socket.TCP_USER_TIMEOUT, _SILENT_S * 1000),
    ):
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made, (host, int(port))


def _name(address: str) -> str:
    # A name that no file stands for begins with a zero (unix(7)).
    return f"\0{address.removeprefix(_ABSTRACT)}"
