"""A store's desired state, which one gateway at a time holds and begins with."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from model_store import generations
from model_store.filesystems import local_path
from model_store.store import Store
from serve.caller import os_user
from serve.config import Config
from serve.control.desired_edits import added_models
from serve.launch.error import LaunchError

LEASE_FILE = "gateway.lock"


def write_generation(config: Config) -> int:
    """Makes `config` the desired state of its store, unless it is already; returns the generation's number.

    Raises `StoreError` when the store can't be written.
    """
    store = Store(config.store)
    newest = generations.newest(store)
    if newest is not None and newest.config == config.document():
        return newest.number
    number = newest.number + 1 if newest else 1
    read = {model.name: number for model in config.models}
    added = added_models(newest, number, config)
    return generations.append(store, number, config.document(), os_user(), "up", read, added).number


@contextmanager
def store_lease(config: Config) -> Iterator[None]:
    """Holds a local store's desired state for the block: two gateways would take over each other's.

    Raises `LaunchError` when another `onegate up` holds it, `StoreError` when the store can't be written. The lease
    ends with the process, however it ends.
    """
    Store.open(config.store)
    folder = local_path(config.store)
    if folder is None:
        yield
        return
    with (folder / LEASE_FILE).open("a+") as lease:
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lease.seek(0)
            raise LaunchError(
                f"store {config.store!r} belongs to a running gateway (process {lease.read().strip() or 'unknown'}); "
                "use `onegate apply`, or give this gateway a store of its own"
            ) from error
        lease.truncate(0)
        lease.write(str(os.getpid()))
        lease.flush()
        yield
