"""Why a gateway can't be started."""

from __future__ import annotations

from model_store.errors import OnegateError


class LaunchError(OnegateError):
    """The gateway can't be started."""
