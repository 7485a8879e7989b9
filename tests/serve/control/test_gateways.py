"""Gateways are placed on the node of `up`, or follow the nodes."""

from __future__ import annotations

import asyncio

import pytest

from serve.control.gateways import Gateways, follow_nodes, on_node
from tests.serve.waiting import eventually


def test_gateways_of_one_node_are_its_alone() -> None:
    assert Gateways(2, home="n1").options(3) == {"num_replicas": 2}
    assert on_node("n1") == {"num_cpus": 0, "label_selector": {"ray.io/node-id": "n1"}}
    assert on_node(None) == {"num_cpus": 0}


def test_gateways_of_every_node_are_as_many_on_each() -> None:
    assert Gateways(2, every_node=True).options(3) == {"num_replicas": 6, "max_replicas_per_node": 2}


async def test_gateways_follow_the_nodes_and_outlive_a_ray_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.control.gateways.LOOK_S", 0.001)
    counts = iter([2, 2, 0, ConnectionError("away"), 3, 1])
    told: list[int] = []

    def count() -> int:
        found = next(counts, 1)
        if isinstance(found, Exception):
            raise found
        return found

    following = asyncio.get_running_loop().create_task(follow_nodes(2, count, told.append))
    await eventually(lambda: told[-1:] == [2])
    following.cancel()
    assert told == [4, 6, 2]
