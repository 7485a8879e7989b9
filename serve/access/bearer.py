"""The header in which a client shows its key."""

from __future__ import annotations


def bearer(key: str | None) -> dict[str, str]:
    """The header that a client sends; none without a key."""
    return {} if key is None else {"Authorization": f"Bearer {key}"}
