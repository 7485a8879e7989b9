"""Which service an archive asks for: a standard one, that a built-in processor stands for, or code of its own.

Archives of MXNet Model Server carry a copy of the standard service, and many of these copies were changed: they
normalise, return embeddings, or write pictures, under the same names. `vision_service.py` tells them apart by reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from converters.archive.vision_service import standard_top
from model_store.archive_manifest import ArchiveManifest
from model_store.archives import Archive
from model_store.errors import SourceError
from model_store.filesystems import is_inside
from model_store.manifest import ImageProcessor, JsonProcessor, Processor

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)

VISION = ImageProcessor(style="mms", top=5)
"""MMS's: squeezed into the signature's size, NCHW, pixels as they are; the networks end in SoftmaxOutput."""
GLUON_VISION = ImageProcessor(style="mms", top=5, scale=1 / 255, mean=_IMAGENET_MEAN, std=_IMAGENET_STD, softmax=True)
IMAGE_CLASSIFIER = ImageProcessor(
    style="torchserve",
    top=5,
    height=224,
    width=224,
    resize_shorter=256,
    scale=1 / 255,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    softmax=True,
)

_SERVER_SERVICES: dict[str, dict[str, Processor]] = {
    "mms": {
        "mxnet_vision_service": VISION,
        "mxnet_model_service": JsonProcessor(),
        "gluon_vision_service": GLUON_VISION,
    },
    "torchserve": {"image_classifier": IMAGE_CLASSIFIER},
}
"""Server -> its services, without `.py`, and what stands for them where the archive has no file of the name."""

_TORCHSERVE_OWN = ("base_handler", "image_segmenter", "object_detector", "text_classifier")
"""Handlers that TorchServe brings and that have no built-in processor."""


@dataclass(frozen=True)
class StandardService:
    """One that a processor stands for; without a processor the model takes tensors only."""

    processor: Processor | None


@dataclass(frozen=True)
class CustomHandler:
    """Code of the archive's own, in `file`."""

    file: Path


def service_of(archive: Archive) -> StandardService | CustomHandler:
    """What the archive's handler is. Raises `SourceError` for one that is not in the archive and not known here."""
    manifest = archive.manifest
    if manifest.handler is None:
        return StandardService(None)
    name = _name_of(manifest.handler)
    standard = _SERVER_SERVICES[manifest.server].get(name)
    file = _file_of(archive, name)
    if file is None and standard is not None:
        return StandardService(_for_signature(standard, archive))
    if file is None:
        raise _not_there(archive, name)
    if standard == VISION and (top := standard_top(file)):
        return StandardService(_for_signature(ImageProcessor(style="mms", top=top), archive))
    return CustomHandler(file)


def is_torchserves_own(manifest: ArchiveManifest) -> bool:
    """Whether the handler is one that only TorchServe has: for that the archive is whole."""
    return manifest.server == "torchserve" and _name_of(manifest.handler or "") in _TORCHSERVE_OWN


def _name_of(handler: str) -> str:
    """Of its module, as a path or with dots."""
    return handler.partition(":")[0].removesuffix(".py")


def _file_of(archive: Archive, name: str) -> Path | None:
    """The file of a module, which is named as a path or with dots."""
    for relative in (f"{name}.py", f"{name.replace('.', '/')}.py"):
        if not is_inside(relative):
            raise SourceError(
                f"source {archive.source!r}: its manifest names the handler {archive.manifest.handler!r}, which leads "
                "out of the archive"
            )
        if (archive.folder / relative).is_file():
            return archive.folder / relative
    return None


def _for_signature(processor: Processor, archive: Archive) -> Processor:
    """MMS's services read pictures or JSON, as the signature says."""
    signature = archive.signature
    if archive.manifest.server == "mms" and signature is not None and signature.input_type == "application/json":
        return JsonProcessor()
    return processor


def _not_there(archive: Archive, name: str) -> SourceError:
    way_out = "say `processor:` for this model to serve the model alone"
    if is_torchserves_own(archive.manifest):
        return SourceError(
            f"source {archive.source!r} asks for TorchServe's own handler {name!r}, which only TorchServe has; pack "
            f"its code into the archive and say `trust: true`, or {way_out}",
            handler=name,
        )
    return SourceError(
        f"source {archive.source!r}: its manifest names the handler {archive.manifest.handler!r}, and {name}.py is not "
        f"in the archive; pack it again with its handler, or {way_out}",
        handler=name,
    )
