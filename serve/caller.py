"""Who made the call that is being answered, for what is kept about changes: the audit log and generations."""

from __future__ import annotations

from contextvars import ContextVar

CALLER: ContextVar[str] = ContextVar("caller", default="")
"""As `key:NAME`, `jwt:SUBJECT`, or empty for a call without credentials. Tasks that a call starts inherit it."""
