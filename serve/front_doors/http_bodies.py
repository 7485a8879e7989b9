"""What a body of an HTTP request may be: not too large, and not too slow."""

from __future__ import annotations

from model_store.errors import DeadlineExceeded, PayloadTooLarge


class BodyTimeout(DeadlineExceeded):
    """The client took too long to send the body."""


def too_large(max_bytes: int, got: str) -> PayloadTooLarge:
    """The error of a body of more than `max_bytes`."""
    return PayloadTooLarge(f"the body may have {max_bytes} bytes, got {got}", max_body_bytes=max_bytes)
