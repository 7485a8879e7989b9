"""What the machine, or the container, leaves to a gateway: CPUs, memory, shared memory, open files, disk, clock."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from model_store import generations
from model_store.errors import OnegateError
from model_store.store import Store
from serve.control_groups import OWN_GROUPS, ControlGroups
from serve.doctor.finding import Finding, ok, problem, warning
from serve.launch.ray_session import OBJECT_STORE_BYTES
from serve.memory import available_bytes

GIB = 2**30
LEAST_MEMORY_BYTES = 1 * GIB
LITTLE_MEMORY_BYTES = 2 * GIB
"""A gateway with a local Ray and a few small models takes between the two."""

LEAST_DISK_BYTES = 512 * 2**20
LITTLE_DISK_BYTES = 5 * GIB

OWN_FILES = 1024
"""Open files beside connections: models, libraries, Ray."""

RELEASED = datetime(2026, 1, 1, tzinfo=UTC)
"""Before which no clock that is right can be."""


def check_cpus(groups: ControlGroups = OWN_GROUPS) -> Iterator[Finding]:
    """CPUs that this process may use, against those that Ray counts."""
    counted, usable = os.cpu_count() or 1, float(len(os.sched_getaffinity(0)))
    quota = groups.cpus()
    limit = usable if quota is None else min(usable, quota)
    if limit < 1:
        yield warning(
            "cpus",
            f"{limit:g} of a CPU: gateway, controller and models share it",
            "give the container one CPU at least (docker run --cpus, resources.limits.cpu)",
        )
    elif limit < counted:
        yield warning(
            "cpus",
            f"{limit:g} CPUs may be used, and Ray and the runtimes count {counted}",
            f"keep `serve.cpus` times replicas below {limit:g}, set `serve.threads`, and start with `taskset` or a "
            "cpuset where the limit is a quota",
        )
    else:
        yield ok("cpus", f"{limit:g} CPUs")


def check_memory(groups: ControlGroups = OWN_GROUPS) -> Iterator[Finding]:
    """Memory that is left, of the machine or of the container, whichever is less."""
    available = available_bytes(groups)
    text = f"{_gib(available)} left"
    if available < LEAST_MEMORY_BYTES:
        least = _gib(LEAST_MEMORY_BYTES)
        advice = f"raise the container's limit or end other programs: Ray, gateway and controller take {least} or so"
        yield problem("memory", text, advice)
    elif available < LITTLE_MEMORY_BYTES:
        yield warning("memory", text, "raise the container's limit: each replica and each model comes on top")
    else:
        yield ok("memory", text)


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Iterator[Finding]:
    """Room for Ray's object store. Tensors of requests need none of it."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield warning(
            "shared memory", f"{folder}: {error.strerror}", "mount a tmpfs there; Ray takes its folder in /tmp"
        )
        return
    text = f"{folder} has {_mib(free)} left"
    if free < OBJECT_STORE_BYTES:
        need = _mib(OBJECT_STORE_BYTES)
        advice = f"start the container with --shm-size=256m: Ray's object store wants {need} and goes to /tmp without"
        yield warning("shared memory", text, advice)
    else:
        yield ok("shared memory", text)


def check_open_files(connections: int) -> Iterator[Finding]:
    """The limit of open files, which Ray raises to the hard one, against `connections` of a gateway."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + OWN_FILES
    if hard in (resource.RLIM_INFINITY, -1):
        yield ok("open files", "unlimited")
    elif hard < OWN_FILES:
        yield problem(
            "open files", f"{hard} at most", f"raise the hard limit to {needed} (ulimit -Hn, --ulimit nofile)"
        )
    elif hard < needed:
        yield warning(
            "open files",
            f"{hard} at most, and a gateway accepts {connections} connections, HTTP and gRPC together",
            f"raise the hard limit to {needed} (ulimit -Hn, docker run --ulimit nofile={needed}), or lower "
            "gateway.max_connections",
        )
    else:
        yield ok("open files", f"{hard} at most")


def check_disk(folder: Path, what: str) -> Iterator[Finding]:
    """Room where `what` is written: in `folder`, or the nearest that exists above it."""
    present = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(present).free
    text = f"{what} {str(folder)!r}: {_gib(free)} left"
    if free < LEAST_DISK_BYTES:
        yield problem("disk", text, "free some space: conversions, logs and Ray write here until it is full")
    elif free < LITTLE_DISK_BYTES:
        yield warning("disk", text, "`onegate prune` removes from a store what nothing needs")
    else:
        yield ok("disk", text)


def check_clock(store: str | None, now: datetime | None = None) -> Iterator[Finding]:
    """The clock, against what the store was last told. Certificates, keys and tokens go by it."""
    now = now or datetime.now(UTC)
    if now < RELEASED:
        yield problem("clock", f"it says {now:%Y-%m-%d %H:%M} UTC", "set it: certificates and tokens will be refused")
        return
    newest = None
    if store is not None:
        try:
            newest = generations.newest(Store(store))
        except OnegateError:
            # Told by the check of the store.
            newest = None
    ahead_s = (datetime.fromisoformat(newest.created) - now).total_seconds() if newest else 0.0
    if ahead_s > 5:
        yield warning(
            "clock",
            f"it says {now:%Y-%m-%d %H:%M:%S} UTC, and generation {newest and newest.number} of the store was written "
            f"{ahead_s:.0f} s later",
            "synchronise the clocks of the machines that use the store (chrony, systemd-timesyncd)",
        )
    else:
        yield ok("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def _mib(size: int) -> str:
    return f"{size >> 20} MiB"
