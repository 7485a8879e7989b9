"""The errors by which a handler tells a client what went wrong."""

from __future__ import annotations


class PredictionException(Exception):
    """`mms.service.PredictionException` and `ts.utils.util.PredictionException`: every request of the batch is answered
    with `error_code` as its HTTP status."""

    def __init__(self, message: str, error_code: int = 500) -> None:
        self.message = message
        self.error_code = error_code
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message} : {self.error_code}"
