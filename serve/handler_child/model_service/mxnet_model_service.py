"""Stands for `model_service.mxnet_model_service`."""

from mms.model_service.mxnet_model_service import GluonImperativeBaseService, MXNetBaseService, check_input_shape

__all__ = ["GluonImperativeBaseService", "MXNetBaseService", "check_input_shape"]
