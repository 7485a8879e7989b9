"""Stands for MXNet Model Server's package: what handlers import from it."""

__version__ = "1.1.11"
