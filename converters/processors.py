"""A processor held against the signature that it is to serve: what fits, and the sizes that follow.

The pipeline asks before it proves a conversion, the server (`serve/processors/`) when it loads the version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model_store.errors import ConfigError
from model_store.manifest import ImageProcessor, Processor, Signature, TensorSpec

CHANNELS = {"RGB": 3, "BGR": 3, "GRAY": 1}
_AXES = {"NCHW": (1, 2, 3), "NHWC": (3, 1, 2)}
"""Layout -> axes of channels, height and width."""


@dataclass(frozen=True)
class ImagePlan:
    """What an `ImageProcessor` does with one signature. Sizes in pixels."""

    input: TensorSpec
    output: TensorSpec
    channels: int
    height: int
    width: int


def check_processor(processor: Processor | None, signature: Signature, labels: Sequence[str] | None) -> None:
    """Raises `ConfigError` where the processor, or the number of labels, does not fit the signature."""
    if isinstance(processor, ImageProcessor):
        output = plan_image(processor, signature).output
    else:
        output = signature.outputs[0]
    sizes = [size for size in output.shape[1:] if size != 1]
    if labels is not None and len(sizes) == 1 and sizes[0] not in (-1, len(labels)):
        raise ConfigError(
            f"labels: {len(labels)} names for the output {output.name!r}, which has {sizes[0]} scores; name each class"
        )


def plan_image(processor: ImageProcessor, signature: Signature) -> ImagePlan:
    """Which input takes the picture and at which size; raises `ConfigError` where none can."""
    taken = _named(signature.inputs, processor.input, "input")
    if len(signature.inputs) > 1:
        names = ", ".join(repr(spec.name) for spec in signature.inputs)
        raise ConfigError(f"processor: a picture is one input, the model takes {names}; leave the processor out")
    channels = CHANNELS[processor.colour]
    channel_axis, *size_axes = _axes(processor, taken)
    if taken.shape[channel_axis] not in (-1, channels):
        raise ConfigError(
            f"processor: colour {processor.colour} and layout {processor.layout} give {channels} channels on axis "
            f"{channel_axis}, the input {taken.name!r} has the shape {list(taken.shape)}; say another colour or layout"
        )
    height, width = (
        _size(taken, key, axis, wanted)
        for key, axis, wanted in zip(("height", "width"), size_axes, (processor.height, processor.width), strict=True)
    )
    _check_numbers(processor, channels, height, width)
    return ImagePlan(taken, _named(signature.outputs, processor.output, "output"), channels, height, width)


def _named(specs: Sequence[TensorSpec], name: str | None, kind: str) -> TensorSpec:
    if name is None:
        return specs[0]
    for spec in specs:
        if spec.name == name:
            return spec
    known = ", ".join(repr(spec.name) for spec in specs)
    raise ConfigError(f"processor.{kind}: the model has no {kind} {name!r}; {kind}s: {known}")


def _axes(processor: ImageProcessor, spec: TensorSpec) -> tuple[int, int, int]:
    if len(spec.shape) != 4 or spec.shape[0] not in (-1, 1) or spec.datatype in ("BYTES", "BOOL"):
        raise ConfigError(
            f"processor: a picture needs numbers of the shape [-1, ..] with four dimensions, the input {spec.name!r} "
            f"is {spec.datatype}{list(spec.shape)}"
        )
    return _AXES[processor.layout]


def _size(spec: TensorSpec, key: str, axis: int, wanted: int | None) -> int:
    known = spec.shape[axis]
    size = wanted or known
    if size < 0:
        raise ConfigError(f"processor.{key}: the input {spec.name!r} leaves it free; say how many pixels")
    if known not in (-1, size):
        raise ConfigError(
            f"processor.{key}: {size} pixels do not fit the input {spec.name!r} of shape {list(spec.shape)}: {known}"
        )
    return size


def _check_numbers(processor: ImageProcessor, channels: int, height: int, width: int) -> None:
    for key in ("mean", "std"):
        count = len(getattr(processor, key))
        if count not in (0, 1, channels):
            raise ConfigError(f"processor.{key}: expected one number, or one a channel ({channels}), got {count}")
    if 0.0 in processor.std:
        raise ConfigError("processor.std: expected numbers other than 0, which divide")
    if processor.resize_shorter is not None and processor.resize_shorter < max(height, width):
        raise ConfigError(
            f"processor.resize_shorter: expected at least {max(height, width)}, what is cut out of it, got "
            f"{processor.resize_shorter}"
        )
