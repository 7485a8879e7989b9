"""CPUs, memory, shared memory, open files, disk and clock, each with a limit that is really there, or its files."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from model_store import generations
from model_store.store import Store
from serve.control_groups import ControlGroups
from serve.doctor import machine
from serve.doctor.finding import Finding

ROOT = Path(__file__).parents[3]


def only(findings: Iterable[Finding]) -> Finding:
    (found,) = findings
    return found


def groups(folder: Path, files: dict[str, str]) -> ControlGroups:
    for name, text in files.items():
        (folder / name).write_text(text)
    return ControlGroups(folder, folder / "absent")


def run_limited(code: str, limit: Callable[[], None]) -> Finding:
    """What a check finds in a process with a limit."""
    done = subprocess.run(
        [sys.executable, "-c", f"import msgspec, sys; {code}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=limit,
        capture_output=True,
        check=True,
    )
    return Finding(**json.loads(done.stdout))


# -- CPUs ------------------------------------------------------------------------------------------------------------


def test_a_quota_below_one_cpu_is_a_warning(tmp_path: Path) -> None:
    found = only(machine.check_cpus(groups(tmp_path, {"cpu.max": "50000 100000"})))
    assert (found.level, found.text) == ("warning", "0.5 of a CPU: gateway, controller and models share it")


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two CPUs")
def test_fewer_cpus_than_ray_counts_are_a_warning() -> None:
    one = next(iter(os.sched_getaffinity(0)))
    code = (
        "from serve.doctor import machine; [f] = machine.check_cpus(); sys.stdout.buffer.write(msgspec.json.encode(f))"
    )
    found = run_limited(code, lambda: os.sched_setaffinity(0, {one}))
    assert found.level == "warning"
    assert found.text == f"1 CPUs may be used, and Ray and the runtimes count {os.cpu_count()}"


# -- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit_mib", "level", "text"), [(512, "problem", "0.4 GiB left"), (1792, "warning", "1.7 GiB left")]
)
def test_little_memory_in_the_container_is_told(tmp_path: Path, limit_mib: int, level: str, text: str) -> None:
    files = {
        "memory.max": str(limit_mib * 2**20),
        "memory.current": str(164 * 2**20),
        "memory.stat": f"anon 5\ninactive_file {64 * 2**20}\n",
    }
    found = only(machine.check_memory(groups(tmp_path, files)))
    assert (found.level, found.text) == (level, text)


def test_no_shared_memory_is_a_warning(tmp_path: Path) -> None:
    found = only(machine.check_shared_memory(tmp_path / "shm"))
    assert (found.level, found.text) == ("warning", f"{tmp_path}/shm: No such file or directory")


def test_a_small_tmpfs_is_a_warning() -> None:
    # Always mounted, always without room.
    found = only(machine.check_shared_memory(Path("/proc")))
    assert (found.level, found.text) == ("warning", "/proc has 0 MiB left")


# -- open files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hard", "level"), [(512, "problem"), (4096, "warning"), (9216, "ok")])
def test_a_low_limit_of_open_files_is_told(hard: int, level: str) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip(f"the hard limit is below {hard}")
    code = (
        "from serve.doctor import machine; [f] = machine.check_open_files(8192); "
        "sys.stdout.buffer.write(msgspec.json.encode(f))"
    )
    found = run_limited(code, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 512), hard)))
    assert (found.level, found.text.startswith(f"{hard} at most")) == (level, True)


# -- disk ------------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_a_problem() -> None:
    found = only(machine.check_disk(Path("/proc/store"), "store"))
    assert (found.level, found.text) == ("problem", "store '/proc/store': 0.0 GiB left")


def test_room_is_looked_for_above_a_folder_that_is_not_there(tmp_path: Path) -> None:
    found = only(machine.check_disk(tmp_path / "a/b", "store"))
    assert found.text.startswith(f"store '{tmp_path}/a/b': ")


# -- clock -----------------------------------------------------------------------------------------------------------


def test_a_clock_behind_the_store_is_a_warning(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    generations.append(store, 1, {"models": []})
    now = datetime.now(UTC)
    assert only(machine.check_clock(str(tmp_path), now)).level == "ok"
    found = only(machine.check_clock(str(tmp_path), now - timedelta(hours=1)))
    assert (found.level, "generation 1 of the store" in found.text) == ("warning", True)


def test_a_clock_that_was_never_set_is_a_problem() -> None:
    found = only(machine.check_clock(None, datetime(1970, 1, 1, tzinfo=UTC)))
    assert (found.level, found.text) == ("problem", "it says 1970-01-01 00:00 UTC")
