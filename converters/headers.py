"""What the first bytes of a source say: zip members, pickles, things that no converter reads.

Reads headers and directories of archives only; nothing here imports a framework or unpickles.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from converters.pickles import TORCH_MAGIC, UnreadablePickle, harmless, pickle_globals, torch_stream_globals
from model_store.errors import TrustRequired

HEAD_BYTES = 4096
_TEXT_PICKLE = re.compile(rb"\(?[ci][A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n|\((dp|lp|p)\d+\n")
"""Protocols 0 and 1 have no header, but open with an import or a container."""
LARGEST_PICKLE_BYTES = 1 << 30
"""A longer `data.pkl` is not looked into; weights lie outside of it."""


def read_head(source: Path, size_bytes: int = HEAD_BYTES) -> bytes:
    """The first bytes of a file; nothing for a folder or a file that can't be read."""
    try:
        with source.open("rb") as file:
            return file.read(size_bytes)
    except OSError:
        return b""


def zip_members(source: Path) -> list[str]:
    """Names of a zip's members; none when it is no zip or its directory is cut off."""
    if not source.is_file() or read_head(source, 2) != b"PK":
        return []
    try:
        with zipfile.ZipFile(source) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return []


def describe(source: Path) -> str:
    """One clause on what the source looks like."""
    if source.is_dir():
        names = sorted(path.name for path in source.iterdir())[:5]
        return f"a folder holding {', '.join(names) or 'nothing'}"
    head = read_head(source)
    if not head:
        return "it is empty"
    if head[:4] == b"PK\x03\x04":
        members = zip_members(source)
        if not members:
            return "it is a zip archive without a directory at its end: cut off or damaged"
        return f"it is a zip archive of {', '.join(members[:3])}{', ...' if len(members) > 3 else ''}"
    return f"it starts with {head[:16]!r}"


def refuse_pickle(source: Path) -> None:
    """Raises `TrustRequired` when the source is a pickle, in any of its usual wrappings, that runs code when loaded.

    PyTorch's weights (tensors and containers alone) and TorchScript archives are none.
    """
    if is_pickle(source) and not holds_weights_only(source):
        raise TrustRequired(
            f"source {source.name!r} is a pickle: loading it runs code that it carries; export data instead "
            "(.pt2, .keras, .skops, .onnx), or say `trust: true` for this model",
            source=source.name,
        )


def is_pickle(source: Path) -> bool:
    """Whether the source is a pickle: plain, compressed as joblib does, or in PyTorch's zip."""
    return is_torch_pickle(source) or _looks_pickled(source)


def is_torchscript(source: Path) -> bool:
    """Whether the source is an archive of `torch.jit.save`."""
    return any(name.endswith("/constants.pkl") for name in zip_members(source))


def is_torch_pickle(source: Path) -> bool:
    """Whether the source is a zip of `torch.save`, which holds a pickle."""
    members = zip_members(source)
    return any(name.endswith("/data.pkl") for name in members) and not is_torchscript(source)


def holds_weights_only(source: Path) -> bool:
    """Whether the source is of `torch.save`, in its zip or as before PyTorch 1.6, and its pickles name tensors and
    containers alone."""
    if read_head(source, len(TORCH_MAGIC)) == TORCH_MAGIC:
        try:
            return all(map(harmless, torch_stream_globals(source)))
        except (UnreadablePickle, OSError):
            return False
    pickles = [name for name in zip_members(source) if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        return False
    with zipfile.ZipFile(source) as archive:
        if archive.getinfo(pickles[0]).file_size > LARGEST_PICKLE_BYTES:
            return False
        try:
            names = pickle_globals(archive.read(pickles[0]))
        except (UnreadablePickle, zipfile.BadZipFile, OSError, zlib.error):
            return False
    return all(harmless(name) for name in names)


def _looks_pickled(source: Path) -> bool:
    head = _decompressed(read_head(source))
    if len(head) > 2 and head[0] == 0x80 and head[1] <= 5:
        return True
    return _TEXT_PICKLE.match(head) is not None


_DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    b"\x78": zlib.decompressobj,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": lzma.LZMADecompressor,
    b"\x5d\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE),
}
"""First bytes -> what reads the rest: the compressions that joblib writes around a pickle, but for lz4."""


def _decompressed(head: bytes) -> bytes:
    for magic, decompressor in _DECOMPRESSORS.items():
        if head.startswith(magic):
            try:
                content: bytes = decompressor().decompress(head, HEAD_BYTES)
                return content
            except (zlib.error, lzma.LZMAError, OSError, EOFError):
                return head
    return head
