"""Stands for `model_service.model_service`."""

from mms.model_service.model_service import ModelService, SingleNodeService

__all__ = ["ModelService", "SingleNodeService"]
