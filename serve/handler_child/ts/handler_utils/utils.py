"""Stands for `ts.handler_utils.utils`."""

from ts.protocol.otf_message_handler import send_intermediate_predict_response

__all__ = ["send_intermediate_predict_response"]
