"""Stands for `ts.service`."""

from onegate_handler.errors import PredictionException

__all__ = ["PredictionException"]
