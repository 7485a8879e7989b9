"""Is there memory for a version: told before it is loaded, and of the ways in which libraries say that there was none.

The limit is that of the machine, or of the control groups that the process runs in, whichever leaves least.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from model_store.errors import OutOfMemory
from model_store.manifest import Manifest
from serve.control_groups import OWN_GROUPS, ControlGroups

# ONNX Runtime and PyTorch have no kind of exception for it.
_NO_MEMORY = re.compile(
    r"failed to allocate memory|bad_alloc|bad allocation|can't allocate memory|cannot allocate memory|out of memory"
    r"|is smaller than requested bytes",  # of ONNX Runtime's arena on a GPU, at its limit
    re.IGNORECASE,
)


def available_bytes(groups: ControlGroups = OWN_GROUPS) -> int:
    """How much memory this process may still take."""
    free = int(psutil.virtual_memory().available)
    left = groups.memory_bytes()
    return free if left is None else min(free, left)


def most_bytes(groups: ControlGroups = OWN_GROUPS) -> int:
    """How much memory this process can ever take."""
    whole, limit = int(psutil.virtual_memory().total), groups.memory_limit_bytes()
    return whole if limit is None else min(whole, limit)


def used_bytes() -> int:
    """How much memory this process takes now (its resident set)."""
    return int(psutil.Process().memory_info().rss)


def loaded_bytes(manifest: Manifest) -> int:
    """The least that a version takes once it is loaded: its files, of a graph that is there twice only one."""
    twice = set(manifest.optimised.values())
    return sum(entry.size for name, entry in manifest.files.items() if name not in twice)


def require_memory(manifest: Manifest, available: int) -> None:
    """Raises `OutOfMemory` when the version can't fit into `available` bytes."""
    needed = loaded_bytes(manifest)
    if needed > available:
        raise OutOfMemory(
            f"model {manifest.name!r} version {manifest.version} takes at least {_mib(needed)} MiB, "
            f"{_mib(available)} MiB of memory are left; unload another model first",
            needed_bytes=needed,
            available_bytes=available,
        )


def give_back() -> None:
    """Gives memory that was freed back to the system, where the C library keeps it: glibc does, for each thread that
    loaded something, so that a process that loads and unloads by turns would grow. Takes milliseconds; for a thread."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def telling_of_memory(what: str) -> Iterator[None]:
    """Makes `OutOfMemory` of what libraries raise when an allocation inside failed; `what` begins its message."""
    try:
        yield
    except MemoryError as error:
        raise _out_of_memory(what) from error
    except Exception as error:
        if not isinstance(error, RuntimeError) and type(error).__module__.partition(".")[0] != "onnxruntime":
            raise
        if not _NO_MEMORY.search(str(error)):
            raise
        raise _out_of_memory(what) from error


def _out_of_memory(what: str) -> OutOfMemory:
    return OutOfMemory(f"{what}: an allocation failed")


def _mib(size_bytes: int) -> int:
    return size_bytes >> 20
