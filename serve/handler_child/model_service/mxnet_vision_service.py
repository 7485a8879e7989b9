"""Stands for `model_service.mxnet_vision_service`."""

from mms.model_service.mxnet_vision_service import MXNetVisionService

__all__ = ["MXNetVisionService"]
