"""Stands for `mms.mxnet_model_service_error` of MMS 0.4."""

from __future__ import annotations


class MMSError(Exception):
    """An error of a service with the code of its kind."""

    def __init__(self, code: object, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)

    def get_code(self) -> object:
        """The code of its kind."""
        return self.code

    def get_message(self) -> str:
        """What went wrong."""
        return self.message

    def set_code(self, code: object) -> None:
        """Replaces the code."""
        self.code = code
