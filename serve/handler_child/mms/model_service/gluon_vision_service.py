"""Stands for `mms.model_service.gluon_vision_service`: pictures for Gluon blocks, with ImageNet's statistics."""

from __future__ import annotations

from typing import Any

from mms.model_service.mxnet_model_service import GluonImperativeBaseService
from mms.utils.mxnet import image


class GluonVisionService(GluonImperativeBaseService):
    """Decode, resize, scale to 0..1, normalise, NCHW; softmax and the five likeliest classes."""

    def _preprocess(self, data: Any) -> Any:
        import mxnet

        mean, std = mxnet.nd.array([0.485, 0.456, 0.406]), mxnet.nd.array([0.229, 0.224, 0.225])
        arrays = []
        for picture, spec in zip(data, self._signature["inputs"]):
            height, width = spec["data_shape"][2:]
            pixels = image.resize(image.read(picture), width, height).astype("float32") / 255
            arrays.append(image.transform_shape(image.color_normalize(pixels, mean, std)))
        return arrays

    def _inference(self, data: Any) -> Any:
        return [self.net(item).softmax() for item in super()._inference(data)]

    def _postprocess(self, data: Any) -> Any:
        return self._likeliest(data)
