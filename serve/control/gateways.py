"""Where gateways are placed in Ray: on the node where `up` runs, or on every node, as nodes come and go.

What one gateway does is `gateway.py`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

log = logging.getLogger("onegate")

GATEWAY_APP = "onegate"
GATEWAY_DEPLOYMENT = "Gateway"

LOOK_S = 2.0
"""Between two looks at the nodes. Each costs Ray's head one small call."""

NODE_LABEL = "ray.io/node-id"
"""By which Ray's own labels tell nodes apart."""
HEAD = "node:__internal_head__"
"""A resource of which Ray gives its head one."""


class Gateways(msgspec.Struct, frozen=True):
    """`count` gateways, on each node with `every_node`; else on the node `home`, by Ray's id of it, or in a Ray of one
    node on that one."""

    count: int
    every_node: bool = False
    home: str | None = None

    def options(self, nodes: int) -> dict[str, Any]:
        """What of Ray Serve's options for the deployment follows from it, while there are so many nodes."""
        if self.every_node:
            return {"num_replicas": self.count * nodes, "max_replicas_per_node": self.count}
        return {"num_replicas": self.count}


def on_node(node: str | None) -> dict[str, Any]:
    """Ray's options for an actor that takes no CPU, and runs on the node with this id, where one is given."""
    options: dict[str, Any] = {"num_cpus": 0}
    return options if node is None else options | {"label_selector": {NODE_LABEL: node}}


def on_head() -> dict[str, Any]:
    """The same on the node that Ray's head is."""
    return {"num_cpus": 0, "resources": {HEAD: 0.001}}


async def follow_nodes(per_node: int, count_nodes: Callable[[], int], scale: Callable[[int], None]) -> None:
    """Keeps `per_node` gateways on each node, for ever. Both functions may block; the first call of `scale` comes at
    once, for nodes that came or went while no controller looked."""
    told = 0
    while True:
        try:
            nodes = await asyncio.to_thread(count_nodes)
            if nodes and nodes != told:
                await asyncio.to_thread(scale, per_node * nodes)
                told = nodes
        except Exception as error:
            log.warning("gateways can't follow the nodes: %s", " ".join(str(error).split())[:200])
        await asyncio.sleep(LOOK_S)
