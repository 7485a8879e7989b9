"""Keys on devices that are right one by one and do not go together; called as `contradictions.py` is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from serve.config_sections.mistakes import Finding
from serve.config_sections.rules import is_number
from serve.config_sections.source import KeyPath

OF_GPUS = ("cuda", "tensorrt")
"""Providers that compute on a GPU."""
GPU_KEYS = ("gpu_memory_mib", "accelerator_type")
"""Keys that say something of the GPU that a replica has."""


def device_contradictions(path: KeyPath, serve: Mapping[str, Any]) -> Iterator[Finding]:
    """Where and what, in the `serve` of a model that stands at `path`."""
    device, gpus = serve.get("device"), serve.get("gpus")
    asked = (is_number(gpus) and gpus > 0) or (device == "cuda" and gpus is None)
    if device == "cpu" and asked:
        yield (*path, "gpus"), f"device 'cpu' uses none, got {gpus}; leave out one of the two"
    elif device == "cuda" and gpus == 0 and is_number(gpus):
        yield (*path, "gpus"), "device 'cuda' needs a GPU, or a fraction of one, got 0"
    if serve.get("executor") == "inline":
        if asked:
            key = "gpus" if is_number(gpus) else "device"
            yield (*path, key), "a GPU needs executor 'replicas' or 'auto', got 'inline': gateways have none"
        for key in ("resources", "accelerator_type"):
            if serve.get(key):
                yield (
                    (*path, key),
                    "needs executor 'replicas' or 'auto', got 'inline': gateways are placed by themselves",
                )
    if not asked and device != "cpu":
        for key in GPU_KEYS:
            if serve.get(key) is not None:
                yield (*path, key), "is for a replica with a GPU; set 'gpus', or leave it out"
    yield from _providers(path, serve, asked)


def _providers(path: KeyPath, serve: Mapping[str, Any], asked: bool) -> Iterator[Finding]:
    listed = serve.get("providers")
    named = [
        (index, each["name"])
        for index, each in enumerate(listed if isinstance(listed, list) else [])
        if isinstance(each, Mapping) and isinstance(each.get("name"), str)
    ]
    seen: set[str] = set()
    for index, name in named:
        if name in seen:
            yield (*path, "providers", index, "name"), f"the provider {name!r} stands here twice"
        seen.add(name)
        if name in OF_GPUS and not asked:
            yield (*path, "providers", index, "name"), f"the provider {name!r} needs a GPU; set 'gpus'"
    if asked and seen == {"cpu"}:
        yield (*path, "providers"), "a GPU needs the provider 'cuda' or 'tensorrt' among them"
