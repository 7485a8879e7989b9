"""Stands for `mms.utils.model_server_error_codes` of MMS 0.4."""


class ModelServerErrorCodes:
    """Codes of the kinds of errors that a service may raise."""

    UNKNOWN_EXCEPTION = "UNKNOWN_EXCEPTION"
    CUSTOM_SERVICE_ERROR = "CUSTOM_SERVICE_ERROR"
