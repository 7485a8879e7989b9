"""What control groups leave to this process: its own, and those around it, of which each holds it to a limit.

A container is one; inside, and without one, units of systemd and steps of batch systems are. Version 1 has a tree for
each controller, version 2 one for all, and a machine may have both
(https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/memory.html).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Amount = TypeVar("Amount", int, float)

_CPU_FILES = (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
"""Files that hold a quota and its period, of version 2 and 1."""

_MEMORY_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Limit, usage, and the key in `memory.stat` of what can be dropped, of version 2 and 1."""


@dataclass(frozen=True)
class ControlGroups:
    """Where the kernel shows them: the folder that their trees are mounted in, and which of them this process is in."""

    mounted: Path = Path("/sys/fs/cgroup")
    membership: Path = Path("/proc/self/cgroup")

    def cpus(self) -> float | None:
        """How many CPUs' worth of time the process may take; None without a limit."""
        return _least(_cpus(folder) for folder in self._folders("cpu"))

    def memory_bytes(self) -> int | None:
        """How much memory the process may still take; None without a limit. Pages of files that nobody has used for a
        while count as free, since the kernel drops them first."""
        return _least(left for _, left in self._memory())

    def memory_limit_bytes(self) -> int | None:
        """How much memory the process and what shares a group with it may take together; None without a limit."""
        return _least(limit for limit, _ in self._memory())

    def _memory(self) -> Iterator[tuple[int, int]]:
        """Limit, and what is left of it, of each group that sets one."""
        return (found for folder in self._folders("memory") if (found := _memory_bytes(folder)) is not None)

    def _folders(self, controller: str) -> Iterator[Path]:
        """Of the groups that the process is in, those around them included; some may not be there."""
        own = [self.mounted / controller]
        # Where version 1 has the usual place, version 2 is mounted inside.
        common = [self.mounted, self.mounted / "unified"]
        yield from own + common
        try:
            lines = self.membership.read_text().splitlines()
        except OSError:
            return
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if not controllers or controller in controllers.split(","):
                yield from (tree / group for tree in (own if controllers else common) for group in _way_up(path))


OWN_GROUPS = ControlGroups()
"""Those of this process."""


def _way_up(path: str) -> Iterator[str]:
    """A group below the tree's root, and those around it."""
    parts = [part for part in path.split("/") if part]
    # One outside the container's can't be seen from inside.
    if ".." not in parts:
        yield from ("/".join(parts[:count]) for count in range(len(parts), 0, -1))


def _cpus(folder: Path) -> float | None:
    for files in _CPU_FILES:
        match _words(folder, files):
            case [quota, period] if quota.isdigit() and period.isdigit() and int(period):
                return int(quota) / int(period)
    return None


def _memory_bytes(folder: Path) -> tuple[int, int] | None:
    for limit_file, usage_file, droppable in _MEMORY_FILES:
        match _words(folder, (limit_file, usage_file)):
            case [limit, used] if limit.isdigit():
                found = re.search(rf"\b{droppable} (\d+)", " ".join(_words(folder, ("memory.stat",))))
                return int(limit), max(0, int(limit) - int(used) + (int(found[1]) if found else 0))
    return None


def _words(folder: Path, files: Iterable[str]) -> list[str]:
    """What the files hold; nothing where one of them isn't there."""
    try:
        return [word for file in files for word in (folder / file).read_text().split()]
    except OSError:
        return []


def _least(amounts: Iterable[Amount | None]) -> Amount | None:
    return min((amount for amount in amounts if amount is not None), default=None)
