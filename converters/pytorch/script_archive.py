"""Vets a TorchScript archive before PyTorch loads it.

The archive brings code in TorchScript, a language without imports that reaches the world through operators alone:
`torch.<operator>`, `ops.<library>.<operator>` and objects of classes that are registered in C++. Operators that touch
files or other processes, libraries that are not PyTorch's own, and such classes need `trust`. The archive is written
anew, so that PyTorch reads what was vetted and nothing else.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from converters.pickles import UnreadablePickle, pickle_globals
from converters.pytorch.archives import ROOT, check_sizes, check_vetted, write_vetted
from converters.pytorch.devices import code_on_cpu
from converters.pytorch.operators import COMPUTING, REACHING_OUT
from model_store.errors import TrustRequired

_KEPT = re.compile(r"(data|constants)\.pkl|(data|constants)/\w+|code/.+\.py|version|byteorder|\.data/\w+")
"""PyTorch also looks for bytecode of its mobile interpreter, source ranges and extra files; none is needed."""

# Patterns look into strings and comments as well: a tokenizer that differs from TorchScript's own would be a way in.
_REACHING_OUT = re.compile(rf"\.\s*({'|'.join(REACHING_OUT)})\b(?!\s*:)|[\"']({'|'.join(REACHING_OUT)})[\"']")
_RPC = re.compile(r"(?<![\w.])(rpc_\w+)\s*\(")
_LIBRARY = re.compile(r"(?<![\w.])ops\b\s*(?:\.\s*(\w+))?")
_CLASS = re.compile(r"torch\s*\.\s*classes\s*\.\s*(\w+(?:\s*\.\s*\w+)?)")
_ALIAS = re.compile(r"(?<![\w.])torch[ \t]*(?:[,);=\]}#]|$)", re.MULTILINE)


def vet_script(source: Path, target: Path) -> Path:
    """Writes the archive that PyTorch may load to `target` and returns it.

    Raises `TrustRequired`, naming the operator or class, when the code could do more than compute, and `SourceError`
    when the archive is damaged.
    """
    return write_vetted(source, target, _vetted_members)


def check_script(path: Path) -> None:
    """Raises as `vet_script` does, for an archive that is loaded as it is."""
    check_vetted(path, _vetted_members)


def _vetted_members(archive: zipfile.ZipFile, source_name: str) -> Iterator[tuple[str, bytes]]:
    infos = [info for info in archive.infolist() if not info.is_dir()]
    check_sizes(infos, source_name)
    root = next(info.filename[: -len("constants.pkl")] for info in infos if info.filename.endswith("constants.pkl"))
    for info in infos:
        name = info.filename.removeprefix(root)
        if not info.filename.startswith(root) or not _KEPT.fullmatch(name):
            continue
        data = archive.read(info)
        where = f"source {source_name!r}: member {name!r}"
        if name.endswith(".py"):
            _vet_code(data, where)
            data = code_on_cpu(data)
        elif name.endswith(".pkl"):
            _vet_pickle(data, where)
        yield f"{ROOT}/{name}", data


def _vet_code(data: bytes, where: str) -> None:
    text = data.decode("utf-8", errors="replace")
    for pattern in (_REACHING_OUT, _RPC):
        if found := pattern.search(text):
            name = next(group for group in found.groups() if group)
            raise _refusal(where, f"calls {name!r}, which reaches beyond the model", name)
    if _ALIAS.search(text):
        raise _refusal(where, "hands on the operators of PyTorch as a value", "torch")
    for found in _LIBRARY.finditer(text):
        if found[1] not in COMPUTING:
            raise _refusal(where, f"calls operators of the library {found[1]!r}, which is not PyTorch's own", found[1])
    _vet_classes(text, where)


def _vet_classes(text: str, where: str) -> None:
    for found in _CLASS.finditer(text):
        if not re.match(r"quantized\b", found[1]):
            raise _refusal(where, f"has objects of the custom class {found[1]!r}", found[1])


def _vet_pickle(data: bytes, where: str) -> None:
    """PyTorch reads these with an unpickler of its own that knows classes of the archive only."""
    try:
        names = pickle_globals(data)
    except UnreadablePickle as error:
        raise TrustRequired(f"{where} can't be read safely ({error}); say `trust: true` to load it anyway") from error
    for name in names:
        _vet_classes(name, where)


def _refusal(where: str, what: str, name: str | None) -> TrustRequired:
    return TrustRequired(f"{where} {what}; say `trust: true` to allow it", name=name)
