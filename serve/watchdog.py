"""Finds a runtime that hangs: one that has run a batch for longer than anybody waits for it.

A replica then has itself replaced (`replica.py`). A gateway can't end a thread of its own: the version is not ready
until the batch ends, and everything else goes on (`loading.py`).
"""

from __future__ import annotations

from serve.executors.inline import InlineExecutor
from serve.routing import VersionEntry

SPARE_S = 10.0
"""Beside twice the deadline: by then nobody has waited for long, and a slow machine is no hung one."""


def hang_limit_s(entry: VersionEntry) -> float:
    """How long a batch of the version may run."""
    if entry.serve.hang_timeout_s is not None:
        return entry.serve.hang_timeout_s
    limit_s = 2 * entry.serve.deadline_ms / 1000 + SPARE_S
    handler = entry.manifest.handler
    # A handler's process is ended by its own watch, which has to come first.
    return limit_s if handler is None else max(limit_s, handler.response_timeout_s + SPARE_S)


def hang_of(entry: VersionEntry, executor: object) -> str | None:
    """What is wrong with a version that hangs in this process; None where nothing is."""
    if not isinstance(executor, InlineExecutor) or executor.running_s <= hang_limit_s(entry):
        return None
    name, version = entry.key
    return (
        f"model {name!r} version {version} has run one batch for {executor.running_s:.0f} s, at most "
        f"{hang_limit_s(entry):g} s are allowed (`serve.hang_timeout_s`)"
    )
