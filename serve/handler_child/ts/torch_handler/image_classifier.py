"""Stands for `ts.torch_handler.image_classifier`: the five likeliest classes of a picture. Needs torchvision."""

from __future__ import annotations

from typing import Any

from ts.torch_handler.vision_handler import VisionHandler, as_imagenet
from ts.utils.util import map_class_to_label


class ImageClassifier(VisionHandler):
    """Shorter side to 256, centre of 224 by 224, ImageNet's statistics; softmax over dimension 1."""

    topk = 5
    image_processing = as_imagenet()

    def set_max_result_classes(self, topk: int) -> None:
        """How many classes an answer has."""
        self.topk = topk

    def get_max_result_classes(self) -> int:
        """How many classes an answer has."""
        return self.topk

    def postprocess(self, data: Any) -> Any:
        """Label -> probability for each row, likeliest first."""
        probabilities, classes = data.softmax(dim=1).topk(self.topk, dim=1)
        return map_class_to_label(probabilities.tolist(), self.mapping, classes.tolist())
