"""Entries of the routing table: which changes of one need another executor."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from serve.routing import Batching, Replica, ServeOptions, runs_differently
from tests.serve.tiny_versions import entry


@pytest.mark.parametrize(
    ("changes", "differently"),
    [
        ({}, False),
        ({"executor": "replicas"}, True),
        ({"cpus": 2}, True),
        ({"replicas": 3}, False),
        ({"batching": Batching(max_batch_size=8, max_delay_ms=1.0, max_queue=5)}, False),
        ({"deadline_ms": 1000}, False),
    ],
)
def test_only_another_executor_or_other_cpus_run_differently(changes: dict[str, Any], differently: bool) -> None:
    old = entry("digits", 3)
    new = msgspec.structs.replace(old, serve=msgspec.structs.replace(ServeOptions("inline"), **changes))
    assert runs_differently(old, new) is differently
    assert runs_differently(new, old) is differently


def test_the_replicas_of_the_moment_do_not_run_differently() -> None:
    old = entry("digits", 3, "replicas")
    new = msgspec.structs.replace(old, replicas=(Replica("r1", "node", "unix-abstract:r1", "127.0.0.1:1"),))
    assert runs_differently(old, new) is False
