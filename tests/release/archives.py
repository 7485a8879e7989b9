"""A tar archive without what differs from one machine or minute to the next.

setuptools heeds `SOURCE_DATE_EPOCH` in wheels but not in sdists (pypa/setuptools#2133); this can go when it does.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path


def pack_again(path: Path, epoch: int) -> None:
    """Writes the `.tar.gz` at `path` anew: members by name, of nobody, at `epoch` (seconds), with plain modes."""
    packed = io.BytesIO()
    with tarfile.open(path) as source, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as target:
        for member in sorted(source.getmembers(), key=lambda each: each.name):
            content = source.extractfile(member)
            target.addfile(_plain(member, epoch), content)
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as zipped:
        zipped.write(packed.getbuffer())


def _plain(member: tarfile.TarInfo, epoch: int) -> tarfile.TarInfo:
    executable = member.isdir() or member.mode & 0o100
    plain = member.replace(mtime=epoch, mode=0o755 if executable else 0o644, uid=0, gid=0, uname="", gname="")
    # A time in fractions of a second lies in here, and would be written in place of the one above.
    plain.pax_headers = {}
    return plain
