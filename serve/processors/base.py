"""What a processor is, and how the one of a version is found."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from model_store.manifest import ImageProcessor, JsonProcessor, Manifest
from serve.inference import Payload, Tensors


class Processor(Protocol):
    """Stands in front of and behind a version's default signature. Both methods may be called from any thread."""

    def decode(self, payload: Payload) -> tuple[Tensors, Any]:
        """The inputs in a body, batch dimension included, and what `encode` wants to know again of it.

        Raises `InvalidInput` for a body that holds no such inputs.
        """

    def encode(self, outputs: Tensors, form: Any) -> Payload:
        """The answer that carries the outputs for what `decode` has read; raises `InvalidInput` where it can't."""


PROCESSORS: dict[type, str] = {
    ImageProcessor: "serve.processors.image:PictureClassifier",
    JsonProcessor: "serve.processors.tensor_bodies:TensorBodies",
}
"""Kind in a manifest -> where its class is. The class takes the manifest."""


def load_processor(manifest: Manifest) -> Processor:
    """The version's processor: JSON bodies where the manifest names none; raises `ConfigError` when it does not fit."""
    module, _, name = PROCESSORS[type(manifest.processor or JsonProcessor())].partition(":")
    processor: Processor = getattr(import_module(module), name)(manifest)
    return processor


def part_of(payload: Payload, name: str) -> str | None:
    """The name of the part of a form that stands for the input `name`: itself, else `body`, else `data`, as MXNet Model
    Server looks for it; else that of a file that is the form's only part. None for a body that is no form or has none
    of them."""
    fields = payload.fields
    lone = payload.field_types if len(fields) == 1 else ()
    return next((each for each in (name, "body", "data", *lone) if each in fields), None)
