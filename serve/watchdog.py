"""Finds what answers nobody: a runtime that has run a batch for longer than anybody waits for it, and another server
that has been away for longer than a restart takes.

A replica that hangs has itself replaced (`replica.py`). A gateway can't end a thread of its own, nor start somebody
else's server: the version is not ready until the batch ends or the server is back, and everything else goes on
(`loading.py`).
"""

from __future__ import annotations

from model_store.errors import InternalError, ModelNotReady, OnegateError
from serve.executors.inline import InlineExecutor
from serve.executors.remote import RemoteExecutor
from serve.routing import VersionEntry

SPARE_S = 10.0
"""Beside twice the deadline: by then nobody has waited for long, and a slow machine is no hung one."""

AWAY_S = 10.0
"""For so long requests wait for another server that has gone; by then it is no restart."""


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


def absence_of(entry: VersionEntry, executor: object) -> str | None:
    """What is wrong with a version whose servers are all away; None where nothing is."""
    if not isinstance(executor, RemoteExecutor) or executor.away_s <= AWAY_S:
        return None
    name, version = entry.key
    # Without addresses: clients are told it too.
    return f"model {name!r} version {version}: no upstream server has answered for {executor.away_s:.0f} s"


def trouble_of(entry: VersionEntry, executor: object) -> OnegateError | None:
    """What the requests are told that run when the version is found to answer nobody; None while it may answer."""
    if hang := hang_of(entry, executor):
        return InternalError(hang)
    absence = absence_of(entry, executor)
    return None if absence is None else ModelNotReady(absence)
