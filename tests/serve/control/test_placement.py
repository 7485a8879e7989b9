"""What Ray is asked for, and that nobody waits for a node that will never be."""

from __future__ import annotations

from typing import Any

import pytest

from model_store.errors import ModelNotReady
from serve.control.placement import Placement, place
from serve.devices import DeviceOptions
from serve.routing import ServeOptions

CPUS = {"CPU": 4.0, "memory": 1e9, "node:10.0.0.1": 1.0}
ONE_GPU = {"CPU": 4.0, "GPU": 1.0, "accelerator_type:T4": 1.0}
LICENSED = {"CPU": 2.0, "licence": 1.0}


def asked(cpus: float = 1, **devices: Any) -> ServeOptions:
    return ServeOptions("replicas", cpus=cpus, devices=DeviceOptions(**devices))


@pytest.mark.parametrize(
    ("serve", "options"),
    [
        (asked(), {"num_cpus": 1}),
        (asked(0.5, gpus=0.25), {"num_cpus": 0.5, "num_gpus": 0.25}),
        (asked(gpus=1, accelerator_type="T4"), {"num_cpus": 1, "num_gpus": 1, "accelerator_type": "T4"}),
        (asked(2, resources={"licence": 1}), {"num_cpus": 2, "resources": {"licence": 1}}),
    ],
)
def test_ray_is_asked_for_what_the_version_asks_for(serve: ServeOptions, options: dict[str, Any]) -> None:
    assert place(serve, [CPUS, ONE_GPU, LICENSED]) == Placement(options)
    assert place(serve, None) == Placement(options)


def test_without_gpus_in_ray_auto_goes_to_a_cpu_and_says_why() -> None:
    reason = "no node of Ray has 0.5 GPU: the most is 0 GPU"
    assert place(asked(gpus=0.5), [CPUS]) == Placement({"num_cpus": 1}, reason)
    reason = "no node of Ray has 4 GPU: the most is 1 GPU"
    assert place(asked(gpus=4), [ONE_GPU, ONE_GPU]) == Placement({"num_cpus": 1}, reason)
    reason = "no node of Ray has 0.001 accelerator_type:A100: the most is 0 accelerator_type:A100"
    assert place(asked(gpus=1, accelerator_type="A100"), [ONE_GPU]) == Placement({"num_cpus": 1}, reason)


@pytest.mark.parametrize(
    ("serve", "shortage"),
    [
        (asked(device="cuda", gpus=1), "no node of Ray has 1 GPU: the most is 0 GPU"),
        (asked(8), "no node of Ray has 8 CPU: the most is 4 CPU"),
        (asked(8, gpus=1), "no node of Ray has 8 CPU, 1 GPU: the most is 4 CPU, 0 GPU"),
        (asked(3, resources={"licence": 1}), "no node of Ray has 3 CPU, 1 licence together"),
    ],
)
def test_what_no_node_will_ever_hold_is_refused(serve: ServeOptions, shortage: str) -> None:
    with pytest.raises(ModelNotReady) as refused:
        place(serve, [CPUS, LICENSED])
    assert refused.value.message == f"{shortage}; ask for less, or start a larger Ray and join it with --address"


def test_where_nodes_may_join_they_are_waited_for() -> None:
    assert place(asked(device="cuda", gpus=8), None).options == {"num_cpus": 1, "num_gpus": 8}
