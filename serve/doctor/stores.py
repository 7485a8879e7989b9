"""The store of a config: can it be read and written, and how fast."""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from model_store import access_keys
from model_store.filesystems import local_path, store_access
from model_store.store import Store
from serve.doctor.finding import Finding, ok, problem, warning

PROBE_BYTES = 1 << 20
SLOW_S = 1.0
"""From which on a store is slow to write or read a small file."""

ENDING = timedelta(days=14)
"""Keys and certificates that end so soon are told."""


def check_store(url: str) -> Iterator[Finding]:
    """Reads what is there; writes, reads and removes a file of a MiB. A folder that is not there yet is not made."""
    folder = local_path(url)
    if folder is not None and not folder.exists():
        above = next(path for path in folder.absolute().parents if path.exists())
        try:
            # Asked by doing: a superuser is told that everything can be written.
            os.rmdir(tempfile.mkdtemp(prefix=".onegate-doctor-", dir=above))
        except OSError as error:
            text = f"{url!r} is not there and can't be made in {str(above)!r}: {error.strerror}"
            yield problem("store", text, "set `store` to a folder that can be written")
        else:
            yield ok("store", f"{url!r} is not there yet; the first conversion makes it")
        return
    store = Store(url)
    start = time.perf_counter()
    models = store.models()
    listed_s = time.perf_counter() - start
    yield ok("store", f"{store.url!r} can be read: {len(models)} models, listed in {listed_s:.3f} s")
    path, content = f"tmp/doctor-{uuid.uuid4().hex}", os.urandom(PROBE_BYTES)
    with store_access(store.filesystem, "written"):
        start = time.perf_counter()
        store.filesystem.create(path, content)
    try:
        written_s = time.perf_counter() - start
        with store_access(store.filesystem, "read"):
            start = time.perf_counter()
            same = store.filesystem.read(path) == content
            read_s = time.perf_counter() - start
    finally:
        with store_access(store.filesystem, "written"):
            store.filesystem.remove(path)
    text = f"a file of 1 MiB: written in {written_s:.3f} s, read in {read_s:.3f} s"
    if not same:
        yield problem("store", "a file of 1 MiB was read back with other bytes", "do not use this store")
    elif max(written_s, read_s) > SLOW_S:
        yield warning("store", text, "models will load slowly: look at the disk or the way to the store")
    else:
        yield ok("store", text)


def check_keys(url: str, now: datetime | None = None) -> Iterator[Finding]:
    """Keys of callers that have ended, or end soon."""
    folder = local_path(url)
    if folder is not None and not folder.exists():
        return
    now = now or datetime.now(UTC)
    ring = access_keys.newest(Store(url))
    ended = [key.name for key in ring.keys if key.has_expired(now)]
    ending = [key.name for key in ring.keys if key.has_expired(now + ENDING) and not key.has_expired(now)]
    if ending:
        names = ", ".join(ending)
        yield warning(
            "keys", f"end within {ENDING.days} days: {names}", "`onegate keys rotate NAME` makes the next one"
        )
    if ended:
        yield warning("keys", f"have ended: {', '.join(ended)}", "`onegate keys rotate NAME`, or `keys revoke NAME`")
    if not (ending or ended):
        yield ok("keys", f"{len(ring.keys)} keys of callers")
