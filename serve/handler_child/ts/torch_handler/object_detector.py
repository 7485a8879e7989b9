"""Stands for `ts.torch_handler.object_detector`: what a picture shows, and where. Needs torchvision."""

from __future__ import annotations

from typing import Any

from torchvision import transforms

from ts.torch_handler.vision_handler import VisionHandler
from ts.utils.util import map_class_to_label


class ObjectDetector(VisionHandler):
    """For torchvision's detection models: a list of pictures in, a list of `boxes`, `labels` and `scores` out."""

    image_processing = transforms.Compose([transforms.ToTensor()])
    threshold = 0.5

    def postprocess(self, data: Any) -> Any:
        """For each picture its boxes whose score is above the threshold: `{label: box, "score": score}`."""
        return [self._found(picture) for picture in data]

    def _found(self, picture: Any) -> list[dict[str, Any]]:
        sure = picture["scores"] > self.threshold
        boxes, labels, scores = (picture[name][sure].tolist() for name in ("boxes", "labels", "scores"))
        named = map_class_to_label([[box] for box in boxes], self.mapping, [[label] for label in labels])
        return [dict(found, score=score) for found, score in zip(named, scores)]
