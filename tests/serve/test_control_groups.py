"""Limits of control groups, from folders as the kernel shows them: version 1 and 2, a container, groups in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serve.control_groups import ControlGroups

CPUS = {
    "a container of version 2": ({"cpu.max": "50000 100000\n"}, "0::/\n", 0.5),
    "version 2 without a limit": ({"cpu.max": "max 100000\n"}, "0::/\n", None),
    "a group of version 2": ({"a/b/cpu.max": "150000 100000\n", "a/cpu.max": "max 100000"}, "0::/a/b\n", 1.5),
    "a group around it with less": ({"a/b/cpu.max": "150000 100000", "a/cpu.max": "25000 100000"}, "0::/a/b\n", 0.25),
    "a container of version 1": (
        {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"},
        "4:cpu,cpuacct:/docker/0f3\n",
        2.0,
    ),
    "version 1 without a limit": (
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        "4:cpu,cpuacct:/\n",
        None,
    ),
    "a group of version 1": (
        {"cpu/c/cpu.cfs_quota_us": "10000", "cpu/c/cpu.cfs_period_us": "100000"},
        "4:cpu,cpuacct:/c\n3:memory:/d\n0::/\n",
        0.1,
    ),
    "none": ({}, "", None),
}

MEMORY = {
    "a container of version 2": (
        {"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 500\ninactive_file 150\n"},
        "0::/\n",
        450,
    ),
    "version 2 without a limit": (
        {"memory.max": "max\n", "memory.current": "700\n", "memory.stat": "inactive_file 150\n"},
        "0::/\n",
        None,
    ),
    "a full one": ({"memory.max": "10", "memory.current": "12", "memory.stat": ""}, "0::/\n", 0),
    "a group of version 2": (
        {"a/b/memory.max": "500", "a/b/memory.current": "100", "a/memory.max": "1000", "a/memory.current": "300"},
        "0::/a/b\n",
        400,
    ),
    "a group around it that others fill": (
        {"a/b/memory.max": "500", "a/b/memory.current": "100", "a/memory.max": "1000", "a/memory.current": "980"},
        "0::/a/b\n",
        20,
    ),
    "a container of version 1": (
        {
            "memory/memory.limit_in_bytes": "1000\n",
            "memory/memory.usage_in_bytes": "900\n",
            "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 50\n",
        },
        "3:memory:/docker/0f3\n",
        150,
    ),
    "a group of version 1": (
        {
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/memory.usage_in_bytes": "700\n",
            "memory/api/job/memory.limit_in_bytes": "1000\n",
            "memory/api/job/memory.usage_in_bytes": "600\n",
        },
        "4:memory:/api/job\n1:cpu:/\n0::/\n",
        400,
    ),
    "version 2 beside version 1": (
        {"unified/a/memory.max": "1000", "unified/a/memory.current": "600"},
        "1:cpu:/c\n0::/a\n",
        400,
    ),
    "a group of another controller": (
        {"memory/c/memory.limit_in_bytes": "1000", "memory/c/memory.usage_in_bytes": "600"},
        "1:cpu:/c\n",
        None,
    ),
    "a group outside the container": ({"a/memory.max": "1000", "a/memory.current": "600"}, "0::/../a\n", None),
    "none": ({}, "", None),
}


def groups(folder: Path, files: dict[str, str], membership: str) -> ControlGroups:
    for name, text in files.items():
        (folder / "mounted" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mounted" / name).write_text(text)
    (folder / "self").write_text(membership)
    return ControlGroups(folder / "mounted", folder / "self")


@pytest.mark.parametrize(("files", "membership", "cpus"), CPUS.values(), ids=CPUS)
def test_the_least_cpus_on_the_way_up_count(
    tmp_path: Path, files: dict[str, str], membership: str, cpus: float | None
) -> None:
    assert groups(tmp_path, files, membership).cpus() == cpus


@pytest.mark.parametrize(("files", "membership", "left"), MEMORY.values(), ids=MEMORY)
def test_the_least_memory_on_the_way_up_counts(
    tmp_path: Path, files: dict[str, str], membership: str, left: int | None
) -> None:
    assert groups(tmp_path, files, membership).memory_bytes() == left


def test_the_least_limit_of_memory_is_told_whatever_is_left_of_it(tmp_path: Path) -> None:
    files, membership, _ = MEMORY["a group around it that others fill"]
    assert groups(tmp_path, files, membership).memory_limit_bytes() == 500


def test_where_the_kernel_tells_no_membership_the_root_counts(tmp_path: Path) -> None:
    given = groups(tmp_path, {"memory.max": "1000", "memory.current": "600", "cpu.max": "1000 1000"}, "")
    absent = ControlGroups(given.mounted, tmp_path / "absent")
    assert (absent.memory_bytes(), absent.cpus()) == (400, 1.0)


def test_this_process_has_limits_that_make_sense() -> None:
    cpus, memory = ControlGroups().cpus(), ControlGroups().memory_bytes()
    assert cpus is None or 0 < cpus <= 4 * (os.cpu_count() or 1)
    assert memory is None or memory > 0
