"""Stands for `ts.torch_handler.image_segmenter`: the class of every pixel. Needs torchvision."""

from __future__ import annotations

from typing import Any

from torchvision import transforms

from ts.torch_handler.vision_handler import VisionHandler


class ImageSegmenter(VisionHandler):
    """For torchvision's segmentation models."""

    image_processing = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )

    def postprocess(self, data: Any) -> Any:
        """For each picture, height by width, pairs of class and probability."""
        probabilities, classes = data["out"].softmax(dim=1).max(dim=1, keepdim=True)
        return [list(pair) for pair in _interleaved(classes, probabilities)]


def _interleaved(classes: Any, probabilities: Any) -> Any:
    import torch

    return torch.cat((classes.type(probabilities.dtype), probabilities), dim=1).permute(0, 2, 3, 1).tolist()
