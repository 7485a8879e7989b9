"""Stands for `mms.model_service.mxnet_vision_service`: pictures in, the five likeliest classes out."""

from __future__ import annotations

from typing import Any

from mms.model_service.mxnet_model_service import MXNetBaseService
from mms.utils.mxnet import image


class MXNetVisionService(MXNetBaseService):
    """Decode, resize to the signature's size, NCHW; `synset.txt` must be there."""

    def _preprocess(self, data: Any) -> Any:
        arrays = []
        for picture, spec in zip(data, self._signature["inputs"]):
            height, width = spec["data_shape"][2:]
            arrays.append(image.transform_shape(image.resize(image.read(picture), width, height)))
        return arrays

    def _postprocess(self, data: Any) -> Any:
        return self._likeliest(data)
