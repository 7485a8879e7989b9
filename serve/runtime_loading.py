"""A version's files from the store to a runtime: for gateways, and for model replicas."""

from __future__ import annotations

import shutil
from pathlib import Path

from serve.devices import CPU, Device
from serve.memory import available_bytes, require_memory, telling_of_memory
from serve.routing import VersionEntry
from serve.runtimes.base import Runtime, load_runtime
from serve.store_policy import NO_POLICY, StorePolicy


def load_version(
    store_url: str, entry: VersionEntry, folder: Path, device: Device = CPU, policy: StorePolicy = NO_POLICY
) -> Runtime:
    """The runtime of a version in the store, on the device, loaded from files that were checked against their digests.

    Raises `StoreError`, `IntegrityError`, `NotSigned`, `ModelNotReady` or `OutOfMemory`.
    """
    require_memory(entry.manifest, available_bytes())
    store = policy.open(store_url)
    policy.check(store, entry.manifest)
    place = folder / f"{entry.key[0]}-v{entry.key[1]}"
    shutil.rmtree(place, ignore_errors=True)
    try:
        store.checkout(entry.manifest, place)
        with telling_of_memory(f"model {entry.key[0]!r} version {entry.key[1]} can't be loaded, unload another first"):
            return load_runtime(place, entry.manifest, entry.serve.cpu_threads, device)
    finally:
        # ONNX Runtime has mapped or copied what it needs; nothing is left behind if the process is killed later.
        shutil.rmtree(place, ignore_errors=True)
