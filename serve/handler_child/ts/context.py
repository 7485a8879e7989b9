"""Stands for `ts.context`."""

from onegate_handler.context import Context, RequestProcessor

__all__ = ["Context", "RequestProcessor"]
