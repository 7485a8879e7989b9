"""Stands for `mms.service`: the error by which a handler sets the status of its batch."""

from onegate_handler.errors import PredictionException

__all__ = ["PredictionException"]
