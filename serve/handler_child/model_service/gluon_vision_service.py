"""Stands for `model_service.gluon_vision_service`."""

from mms.model_service.gluon_vision_service import GluonVisionService

__all__ = ["GluonVisionService"]
