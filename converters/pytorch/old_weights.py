"""Tensors as older PyTorch put them into its archives: files of `torch.save` inside of a `.pt2`.

PyTorch unpickles them without limits, so only those that name tensors and containers alone are passed on, and as a
file written anew, so that PyTorch reads what was looked at.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib

from converters.pickles import UnreadablePickle, harmless, pickle_globals
from model_store.errors import TrustRequired

_KEPT = re.compile(r"data\.pkl|data/\d+|version|byteorder|\.format_version|\.storage_alignment|\.data/\w+")


def clean_weights(data: bytes, where: str) -> bytes:
    """The file without anything that PyTorch need not see. Raises `TrustRequired` that names the import."""
    if not data:
        return data
    target = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as clean:
            for info in source.infolist():
                name = info.filename.split("/", 1)[-1]
                if not _KEPT.fullmatch(name):
                    continue
                member = source.read(info)
                if name == "data.pkl":
                    refuse_imports(pickle_globals(member), where)
                clean.writestr(f"archive/{name}", member)
    except (zipfile.BadZipFile, UnreadablePickle, zlib.error, EOFError) as error:
        raise TrustRequired(
            f"{where} is a pickle that can't be read safely ({error}); say `trust: true` to load it anyway"
        ) from error
    return target.getvalue()


def refuse_imports(names: list[str], where: str) -> None:
    """Raises `TrustRequired` for the first name that does more than rebuild tensors."""
    for name in names:
        if not harmless(name):
            raise TrustRequired(
                f"{where} is a pickle that imports {name!r}, which could run code; "
                "export the model anew with plain tensors, or say `trust: true`",
                name=name,
            )
