"""The one error of the benchmark: what it says ends up on one line of standard error."""

from __future__ import annotations

from model_store.errors import OnegateError


class BenchmarkFailed(OnegateError):
    """No number can be given: something did not start, answered wrongly, or answered with errors under load."""
