"""Stands for `ts.torch_handler.vision_handler`: pictures to a batch of tensors."""

from __future__ import annotations

import base64
import io
from typing import Any

from ts.handler_utils.timer import timed
from ts.torch_handler.base_handler import BaseHandler


def as_imagenet() -> Any:
    """A picture as networks for ImageNet take it: shorter side to 256, centre of 224 by 224, ImageNet's statistics."""
    from torchvision import transforms

    return transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )


class VisionHandler(BaseHandler):
    """Derive from it and set `image_processing`, a function from a PIL image to a tensor."""

    image_processing: Any = None

    def initialize(self, context: Any) -> None:
        """Loads the model; `limit_max_image_pixels` is PIL's own guard against huge pictures."""
        super().initialize(context)
        if not context.system_properties.get("limit_max_image_pixels"):
            from PIL import Image

            Image.MAX_IMAGE_PIXELS = None

    @timed
    def preprocess(self, data: Any) -> Any:
        """One picture a request, in `data` or `body`: the file's bytes, base64 of them, or nested lists of numbers."""
        import torch

        return torch.stack([self._tensor(row.get("data") or row.get("body")) for row in data]).to(self.device)

    def _tensor(self, picture: Any) -> Any:
        import torch
        from PIL import Image

        if isinstance(picture, str):
            picture = base64.b64decode(picture)
        if not isinstance(picture, (bytes, bytearray)):
            return torch.tensor(picture, dtype=torch.float32)
        return self.image_processing(Image.open(io.BytesIO(picture)))

    def get_insights(self, tensor_data: Any, raw_data: Any, target: Any = 0) -> Any:
        """Integrated gradients, by captum."""
        from captum.attr import IntegratedGradients

        return IntegratedGradients(self.model).attribute(tensor_data, target=target, n_steps=15).tolist()
