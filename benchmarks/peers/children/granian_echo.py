"""A bare granian: answers each body with itself, or a fixed JSON body. The least that a Python server does."""

import asyncio
import sys

import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server

HEADERS = [("content-type", "application/octet-stream")]


async def echo(scope, protocol):
    """One request of RSGI."""
    protocol.response_bytes(200, HEADERS, await protocol())


async def main():
    """Serves until it is ended."""
    await Server(
        echo, "127.0.0.1", int(sys.argv[1]), interface=Interfaces.RSGI, websockets=False, log_enabled=False
    ).serve()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main())
