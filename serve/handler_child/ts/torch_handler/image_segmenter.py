"""Stands for `ts.torch_handler.image_segmenter`: the class of every pixel. Needs torchvision."""

from __future__ import annotations

from typing import Any

from ts.torch_handler.vision_handler import VisionHandler, as_imagenet


class ImageSegmenter(VisionHandler):
    """For torchvision's segmentation models."""

    image_processing = as_imagenet()

    def postprocess(self, data: Any) -> Any:
        """For each picture, height by width, pairs of class and probability."""
        probabilities, classes = data["out"].softmax(dim=1).max(dim=1, keepdim=True)
        return [list(pair) for pair in _interleaved(classes, probabilities)]


def _interleaved(classes: Any, probabilities: Any) -> Any:
    import torch

    return torch.cat((classes.type(probabilities.dtype), probabilities), dim=1).permute(0, 2, 3, 1).tolist()
