"""Stands for TorchServe's package: what handlers import from it."""

from __future__ import annotations

__version__ = "0.12.0"
