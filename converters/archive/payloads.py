"""Finds the model inside an archive, for the converter of its own framework.

A payload is a path: an `.onnx`, `.pt2` or TorchScript file, or the `.params` of an MXNet pair, whose `-symbol.json`
lies beside it. Nothing of the archive is run.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

from model_store.archives import Archive
from model_store.errors import SourceError

_SYMBOL = re.compile(r"(?P<prefix>.+)-symbol\.json")
_PARAMETERS = re.compile(r"(?P<prefix>.+)-(?P<epoch>[0-9]{4})\.params")
_SUFFIXES = {"mms": (".onnx",), "torchserve": (".pt2", ".pt", ".onnx", ".pth")}
"""Server -> endings of models that it finds without the manifest naming them."""


def find_payload(archive: Archive, workdir: Path) -> Path:
    """The model's file in the unpacked archive; `workdir` takes a pair whose names tell no prefix.

    Raises `SourceError` when there is none, when several could be meant, and for a Gluon model without a graph.
    """
    manifest = archive.manifest
    if (manifest.model_format or "").lower().startswith("gluon-imperative"):
        raise SourceError(
            f"source {archive.source!r} is Gluon-Imperative: its network is Python code and it holds no graph; "
            "hybridize() and export() the network, and serve the pair of -symbol.json and .params"
        )
    if manifest.serialized_file:
        return archive.folder / manifest.serialized_file
    if manifest.symbol_file and manifest.parameters_file:
        pair = archive.folder / manifest.symbol_file, archive.folder / manifest.parameters_file
        return _with_prefix(*pair, workdir)
    return (_mxnet_pair(archive) if manifest.server == "mms" else None) or _only_candidate(archive)


def _mxnet_pair(archive: Archive) -> Path | None:
    """The parameters of the highest epoch; None where no symbol is there."""
    names = [path.name for path in archive.folder.iterdir() if path.is_file()]
    prefixes = sorted(found["prefix"] for name in names if (found := _SYMBOL.fullmatch(name)))
    if not prefixes:
        return None
    epochs: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if found := _PARAMETERS.fullmatch(name):
            epochs[found["prefix"]].append(name)
    with_parameters = [prefix for prefix in prefixes if epochs[prefix]]
    if not with_parameters:
        raise SourceError(
            f"source {archive.source!r} holds {prefixes[0]}-symbol.json and no {prefixes[0]}-0000.params with its "
            "parameters"
        )
    if len(with_parameters) > 1:
        raise SourceError(
            f"source {archive.source!r} holds {len(with_parameters)} MXNet models ({', '.join(with_parameters)}): "
            "name one in its manifest, as model.extensions.symbolFile and parametersFile, or serve its pair of files"
        )
    return archive.folder / max(epochs[with_parameters[0]])


def _only_candidate(archive: Archive) -> Path:
    suffixes = _SUFFIXES[archive.manifest.server]
    found = sorted(path for path in archive.folder.iterdir() if path.is_file() and path.suffix.lower() in suffixes)
    if len(found) == 1:
        return found[0]
    kinds = ", ".join(("an MXNet pair", *suffixes) if archive.manifest.server == "mms" else suffixes)
    if not found:
        raise SourceError(
            f"source {archive.source!r} holds no model that can be converted: expected {kinds}, got "
            f"{', '.join(archive.files()[:5]) or 'no files'}"
        )
    raise SourceError(
        f"source {archive.source!r} holds {len(found)} models ({', '.join(path.name for path in found)}): name one in "
        "its manifest, as model.serializedFile, or serve that file"
    )


def _with_prefix(symbol: Path, parameters: Path, workdir: Path) -> Path:
    """The parameters beside a symbol of the same prefix, linked into a folder of their own where the archive names
    them in another way."""
    named, beside = _PARAMETERS.fullmatch(parameters.name), _SYMBOL.fullmatch(symbol.name)
    if named and beside and named["prefix"] == beside["prefix"] and symbol.parent == parameters.parent:
        return parameters
    folder = workdir / "pair"
    folder.mkdir(parents=True, exist_ok=True)
    for path, name in ((symbol, "model-symbol.json"), (parameters, "model-0000.params")):
        if not (folder / name).exists():
            os.link(path, folder / name)
    return folder / "model-0000.params"
