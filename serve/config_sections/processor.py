"""The config's `processor`: what turns a raw body into tensors and outputs into a body."""

from __future__ import annotations

from typing import Literal

import msgspec
from pydantic import Field

from model_store.manifest import Processor
from serve.config_sections.rules import Filled
from serve.config_sections.section import Section

MOST_PIXELS = 16_384
"""Along one side."""


class ProcessorConfig(Section):
    """What serves raw bodies. Keys other than `type` are for pictures."""

    type: Literal["image", "json"] = Field(
        description="image: a picture in, the likeliest classes out; json: `{input: values}` in, values out."
    )
    input: Filled | None = Field(default=None, description="Input that takes the picture; by default the only one.")
    output: Filled | None = Field(default=None, description="Output that holds the scores; by default the first.")
    height: int | None = Field(
        default=None, ge=1, le=MOST_PIXELS, description="Height in pixels, where the model leaves it free."
    )
    width: int | None = Field(
        default=None, ge=1, le=MOST_PIXELS, description="Width in pixels, where the model leaves it free."
    )
    resize_shorter: int | None = Field(
        default=None,
        ge=1,
        le=MOST_PIXELS,
        description="First resize the shorter side to this many pixels and cut the centre out; without it the picture "
        "is squeezed into its size.",
    )
    layout: Literal["NCHW", "NHWC"] = Field(default="NCHW", description="Order of the input's dimensions.")
    colour: Literal["RGB", "BGR", "GRAY"] = Field(default="RGB", description="Channels, in the order of the input.")
    scale: float = Field(default=1.0, description="Factor for the pixels, which are 0 to 255.")
    mean: list[float] | None = Field(
        default=None, min_length=1, description="Taken off after the scale: one number, or one a channel."
    )
    std: list[float] | None = Field(
        default=None, min_length=1, description="Divided by after that: one number, or one a channel."
    )
    softmax: bool = Field(default=False, description="Whether the scores become probabilities first.")
    top: int = Field(default=5, ge=1, le=100_000, description="Classes in the answer.")
    style: Literal["mms", "torchserve"] = Field(
        default="mms", description="Form of the answer: a list of `probability` and `class`, or label to probability."
    )

    def spec(self) -> Processor:
        """The same as manifests hold it."""
        spec: Processor = msgspec.convert(self.model_dump(exclude_none=True), Processor)
        return spec
