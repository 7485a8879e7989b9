"""Stands for `mms.log`: a logger whose lines reach the replica's log."""

from __future__ import annotations

import logging


def get_logger(name: str = "mms") -> logging.Logger:
    """The logger of that name."""
    return logging.getLogger(name)


def log_msg(*args: object) -> None:
    """Logs the arguments in one line."""
    get_logger().info(" ".join(str(arg) for arg in args))


def log_error(*args: object) -> None:
    """Logs the arguments in one line, as an error."""
    get_logger().error(" ".join(str(arg) for arg in args))
