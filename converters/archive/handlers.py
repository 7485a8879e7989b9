"""An archive with code of its own as a version of the runtime `handler`: all of its files, and how they are started.

Nothing is run here, and nothing can be compared: the handler is what the source says it computes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Arrays, Conversion, ConversionOptions
from model_store.archives import Archive
from model_store.errors import InternalError, SourceError, TrustRequired, Unsupported
from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, HandlerSpec

_PYTHONS = (None, "python", "python3")


def handler_conversion(archive: Archive, file: Path, options: ConversionOptions) -> Conversion:
    """The archive for the runtime `handler`, whose code is in `file`.

    Raises `TrustRequired` without `options.trust`, and `Unsupported` for a handler that is no Python 3.
    """
    manifest = archive.manifest
    if not options.trust:
        raise TrustRequired(
            f"source {archive.source!r} has a handler of its own ({manifest.handler}), code that it carries: say "
            "`trust: true` for this model, or unpack it (`onegate archive unpack`) and serve the model in it alone",
            handler=manifest.handler,
        )
    if manifest.runtime not in _PYTHONS:
        raise Unsupported(
            f"source {archive.source!r} has a handler for {manifest.runtime!r}; expected python or python3: port it "
            "and pack it again, or serve the model in it alone"
        )
    return Conversion(
        model=_at_the_top(archive, file),
        signature=PAYLOAD_SIGNATURE,
        signature_name=PAYLOAD,
        reference=_no_reference,
        reference_name="the archive's own handler",
        runtime="handler",
        labels=archive.labels,
        handler=_spec(archive, options),
        unproven="a handler is the source's own code",
    )


def _at_the_top(archive: Archive, file: Path) -> Path:
    """A file whose folder is the whole archive."""
    top = sorted(path for path in archive.folder.iterdir() if path.is_file())
    return file if file.parent == archive.folder or not top else top[0]


def _spec(archive: Archive, options: ConversionOptions) -> HandlerSpec:
    manifest, config = archive.manifest, archive.config
    assert manifest.handler is not None
    where = f"source {archive.source!r}: {manifest.config_file!r}"
    _number(config, "startupTimeout", 120, where)  # used by whoever starts the handler; a wrong one is told here
    return HandlerSpec(
        server=manifest.server,
        entry=manifest.handler,
        requirements=manifest.requirements_file,
        python=options.handler_python,
        batch_size=options.handler_batch_size or int(_number(config, "batchSize", 1, where)),
        max_batch_delay_ms=_number(config, "maxBatchDelay", 0, where),
        response_timeout_s=_number(config, "responseTimeout", 120, where) or 120.0,
        properties=_properties(archive),
    )


def _properties(archive: Archive) -> dict[str, str]:
    manifest = archive.manifest
    told = {
        "model_name": manifest.name or Path(archive.source).stem,
        "model_version": manifest.version,
        "layout": manifest.layout,
        "model_format": manifest.model_format,
        **manifest.named_files(),
    }
    return {key: value for key, value in told.items() if value is not None}


def _number(config: dict[str, Any], key: str, usual: float, where: str) -> float:
    value = config.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
        raise SourceError(f"{where}: expected a number of at least 0 at {key}, got {str(value)[:60]!r}")
    if key == "batchSize" and not (value >= 1 and float(value).is_integer()):
        raise SourceError(f"{where}: expected a whole number of at least 1 at {key}, got {value}")
    return value


def _no_reference(inputs: Arrays) -> dict[str, np.ndarray]:
    raise InternalError("a handler has no reference to compare with")
