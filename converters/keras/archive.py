"""Vets the `config.json` of a `.keras` archive before Keras builds anything from it.

Keras's safe mode refuses lambdas too; looking first gives one clear message, and does not depend on every layer
of every version asking for it.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_store.errors import SourceError, TrustRequired

LARGEST_CONFIG_BYTES = 64 << 20
RUNS_CODE = frozenset({"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"})
"""Classes whose config carries code, or the path of a program to load."""
OWN_MODULES = ("keras", "builtins")


def vet_config(source: Path) -> None:
    """Raises `TrustRequired`, naming layer and class, when building the model would run code of the file, and
    `SourceError` when the config is damaged or needs classes that are not Keras's own."""
    for item in _objects(_read_config(source)):
        name, module = str(item["class_name"]), item.get("module")
        if name in RUNS_CODE:
            layer = item["config"].get("name") if isinstance(item.get("config"), dict) else None
            raise TrustRequired(
                f"source {source.name!r}: layer {layer or name!r} is a {name}, which carries code; "
                "replace it by a layer of Keras, or say `trust: true`",
                name=name,
            )
        if isinstance(module, str) and module.split(".", 1)[0] not in OWN_MODULES:
            raise SourceError(
                f"source {source.name!r} needs the class {module}.{name}, whose code is not in the file; "
                "use Keras's own layers",
                name=f"{module}.{name}",
            )


def _read_config(source: Path) -> Any:
    try:
        with zipfile.ZipFile(source) as archive:
            info = archive.getinfo("config.json")
            if info.file_size > LARGEST_CONFIG_BYTES:
                raise SourceError(f"source {source.name!r}: config.json holds {info.file_size} bytes")
            return json.loads(archive.read(info))
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, OSError, RecursionError) as error:
        raise SourceError(f"source {source.name!r} is cut off or damaged: {error}") from error


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every serialised object of the config, wherever it is nested."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if "class_name" in item:
                yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
