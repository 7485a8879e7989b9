"""One entry of a folder of models: a model's folder as Triton and TensorFlow Serving keep it, or one exported file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from model_store.companions import companion_name
from serve.importing import triton
from serve.importing.base import ImportedModel, Leftover, Notes, name_problem
from serve.importing.sources import source_problem
from serve.importing.tensorflow_base_paths import read_model
from serve.importing.versions import version_folders

_SYMBOL_END = "-symbol.json"


def entries(names: Iterable[str]) -> dict[str, list[str]]:
    """The entries among the names in a folder, each with the names that belong to it, itself the first.

    Hidden names are passed over: programs that copy write under such a name first. `NAME-0000.params` belongs to
    `NAME-symbol.json`, and a file such as `m.onnx.data` to `m.onnx`.
    """
    shown = sorted(name for name in names if not name.startswith("."))
    found: dict[str, list[str]] = {}
    for name in shown:
        owner = next(
            (each for each in found if each.endswith(".onnx") and name.startswith((f"{each}.", f"{each}_"))), None
        )
        graph = companion_name(name, shown) if name.endswith(".params") else None
        if owner is None and graph is None:
            found[name] = [name]
        elif owner is not None:
            found[owner].append(name)
    for name, parts in found.items():
        if name.endswith(_SYMBOL_END):
            parts += [each for each in shown if each.endswith(".params") and companion_name(each, shown) == name]
    return found


def model_name(path: Path) -> str:
    """What the model of an entry is called: a folder's name, a file's without its ending."""
    if path.name.endswith(_SYMBOL_END):
        return path.name.removesuffix(_SYMBOL_END)
    if path.is_dir():
        return path.name
    return path.name.removesuffix(".tar.gz") if path.name.endswith(".tar.gz") else path.stem


def read_entry(path: Path) -> ImportedModel:
    """The model in the entry at `path`. Raises `SourceError` for a `config.pbtxt` that can't be read."""
    name = model_name(path)
    if path.is_dir() and triton.is_model(path):
        return triton.read_model(path)
    if version_folders(path):
        return read_model(name, str(path), Notes(path.name, name))
    problem = name_problem(name) or source_problem(path)
    if problem is not None:
        return ImportedModel(name, None, (Leftover(path.name, "", problem, name, left_out=True),))
    return ImportedModel(name, {"name": name, "source": str(path)})
