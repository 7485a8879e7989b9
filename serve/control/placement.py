"""What Ray is asked for when replicas of a version are placed, and whether its nodes can ever give it.

Pure: the nodes are handed in. Which of them a replica then gets is for Ray to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from model_store.errors import ModelNotReady
from serve.devices import DeviceOptions
from serve.routing import ServeOptions

Node = Mapping[str, float]
"""All that a node of Ray has, by the names of Ray's resources."""

ACCELERATOR = "accelerator_type:"
"""Ray marks a node by a resource of this name and the kind of its GPUs."""
MARK = 0.001
"""What a replica takes of such a mark."""


class Placement(msgspec.Struct, frozen=True):
    """`options` are Ray's for an actor. `no_gpu` says why it is placed without the GPU that was asked for, if so."""

    options: dict[str, Any]
    no_gpu: str | None = None


def place(serve: ServeOptions, nodes: Sequence[Node] | None) -> Placement:
    """Where a replica is to go. `nodes` are all that there will ever be; None where others may join.

    With `device: auto` a replica goes without GPU where no node has what it asks for. Raises `ModelNotReady` when no
    node can hold it: Ray would look for one for ever.
    """
    options = actor_options(serve.cpus, serve.devices)
    if nodes is None or _fits(options, nodes):
        return Placement(options)
    short = _shortage(options, nodes)
    if serve.devices.device == "auto" and serve.devices.gpus:
        without = actor_options(serve.cpus, msgspec.structs.replace(serve.devices, gpus=0, accelerator_type=None))
        if _fits(without, nodes):
            return Placement(without, short)
    raise ModelNotReady(f"{short}; ask for less, or start a larger Ray and join it with --address")


def actor_options(cpus: float, devices: DeviceOptions) -> dict[str, Any]:
    """Ray's options for a replica, without those that ask for nothing."""
    options: dict[str, Any] = {"num_cpus": cpus}
    if devices.gpus:
        options["num_gpus"] = devices.gpus
    if devices.resources:
        options["resources"] = dict(devices.resources)
    if devices.accelerator_type is not None:
        options["accelerator_type"] = devices.accelerator_type
    return options


def _needs(options: Mapping[str, Any]) -> dict[str, float]:
    """The same by the names of Ray's resources."""
    needs = {"CPU": options["num_cpus"], "GPU": options.get("num_gpus", 0), **options.get("resources", {})}
    if "accelerator_type" in options:
        needs[ACCELERATOR + options["accelerator_type"]] = MARK
    return {name: amount for name, amount in needs.items() if amount}


def _fits(options: Mapping[str, Any], nodes: Sequence[Node]) -> bool:
    needs = _needs(options)
    return any(all(node.get(name, 0) >= amount for name, amount in needs.items()) for node in nodes)


def _shortage(options: Mapping[str, Any], nodes: Sequence[Node]) -> str:
    """What no node has enough of; where each is there on some node, that they are not together on one."""
    needs = _needs(options)
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in needs}
    lacking = {name: amount for name, amount in needs.items() if most[name] < amount}
    told = lacking or needs
    asked = ", ".join(f"{_amount(amount)} {name}" for name, amount in told.items())
    if not lacking:
        return f"no node of Ray has {asked} together"
    there = ", ".join(f"{_amount(most[name])} {name}" for name in told)
    return f"no node of Ray has {asked}: the most is {there}"


def _amount(amount: float) -> str:
    return f"{amount:g}"
