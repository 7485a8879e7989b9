"""Who made the call that is being answered, for what is kept about changes: the audit log and generations."""

from __future__ import annotations

import getpass
import re
from contextvars import ContextVar

CALLER: ContextVar[str] = ContextVar("caller", default="")
"""As `key:NAME`, `jwt:SUBJECT`, or empty for a call without credentials. Tasks that a call starts inherit it."""

USER_HEADER = "onegate-user"
"""In which a command says whose it is. Nobody proves it: it is believed of callers without credentials only, and only
for what is kept about changes."""


def os_user() -> str:
    """As `user:NAME`: who runs this process; empty where the machine has no name for them."""
    try:
        return f"user:{getpass.getuser()}"
    except (KeyError, OSError):
        return ""


def claimed_user(header: str | None) -> str:
    """What `USER_HEADER` says, where that can be a user's name."""
    return header if header is not None and re.fullmatch(r"user:[\w.@\\-]{1,64}", header, re.ASCII) else ""
