"""Removes from a store what no manifest needs: blobs, records of signatures, old leftovers; and versions, where asked.

First what is needed is marked, then the rest is swept, except what is young: a publisher writes its blobs before the
manifest that names them, and a version before anybody may have named it. Which versions desired state needs is left
to the caller.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from uuid import uuid4

import msgspec

from model_store.blobs import GRACE_S
from model_store.errors import IntegrityError, ModelNotFound, StoreError
from model_store.filesystems import FileSystem, StoredFile, store_access
from model_store.local import LOCK
from model_store.store import Store

Needed = Callable[[str], Mapping[int, str]]
"""Model -> the numbers of its versions that desired state needs, each with why."""

YOUNG = "written in the last 24 hours"
"""Why a version stays that nobody needs; see `GRACE_S`."""


class Kept(msgspec.Struct, frozen=True):
    """A version that is not among the newest and stays, and why."""

    name: str
    version: int
    reason: str


class Pruned(msgspec.Struct, frozen=True):
    """What was removed, or would be. `young` counts blobs that nothing names and that are too young to remove."""

    versions: tuple[tuple[str, int], ...]
    blobs: int
    blob_bytes: int
    leftovers: int
    young: int
    kept: tuple[Kept, ...] = ()


def prune(
    store: Store,
    *,
    keep: int | None = None,
    needed: Needed = lambda _: {},
    dry_run: bool = False,
    now_s: float | None = None,
) -> Pruned:
    """Removes what nothing needs. Publishers may be at work meanwhile.

    `keep` removes versions too: all but the newest so many of each model (1 at least, so that no number is given
    twice), those that are `needed`, and those whose manifest is young. `now_s` is the time by the store's clock.

    Raises `StoreError`; for a manifest that is damaged before anything is removed, as its files are unknown.
    """
    present = {name: store.versions(name) for name in store.models()}
    older = {} if keep is None else {name: numbers[: -max(keep, 1)] for name, numbers in present.items()}
    with store_access(store.filesystem, "written"):
        if now_s is None:
            now_s = time.time() if dry_run or not _has_files(store.filesystem) else _store_time_s(store.filesystem)
        oldest_kept_s = now_s - GRACE_S
    kept, unwanted = _sorted_out(store, older, needed, oldest_kept_s)
    marked = _marked(store, present, unwanted)
    with store_access(store.filesystem, "written"):
        found = store.filesystem.files("blobs/sha256")
        temporary = [file for file in store.filesystem.files("tmp") if file.name != LOCK]
        for name, version in () if dry_run else unwanted:
            _remove_version(store.filesystem, name, version)
    # What was published since the first look needs its blobs, and those were there before it.
    marked |= _marked(store, {name: store.versions(name) for name in store.models()}, unwanted)
    sweep = _Sweep(store.filesystem, oldest_kept_s, dry_run)
    unmarked = [file for file in found if file.name not in marked]
    with store_access(store.filesystem, "written"):
        blobs = [file for file in unmarked if sweep.removes(f"blobs/sha256/{file.name}", file)]
        leftovers = [file for file in temporary if sweep.removes(f"tmp/{file.name}", file)]
    freed_bytes = sum(file.size_bytes for file in blobs)
    young = len(unmarked) - len(blobs)
    return Pruned(tuple(unwanted), len(blobs), freed_bytes, len(leftovers), young, tuple(kept))


def _sorted_out(
    store: Store, older: Mapping[str, list[int]], needed: Needed, oldest_kept_s: float
) -> tuple[list[Kept], list[tuple[str, int]]]:
    """Of the versions that are not among the newest: those that stay all the same, and those that go."""
    kept: list[Kept] = []
    unwanted: list[tuple[str, int]] = []
    for name, numbers in older.items():
        reasons = needed(name) if numbers else {}
        for version in numbers:
            if version in reasons:
                kept.append(Kept(name, version, reasons[version]))
            elif _is_young(store, name, version, oldest_kept_s):
                kept.append(Kept(name, version, YOUNG))
            else:
                unwanted.append((name, version))
    return kept, unwanted


def _is_young(store: Store, name: str, version: int, oldest_kept_s: float) -> bool:
    """By the time of the file, as for blobs: `created` is by the clock of the machine that published."""
    with store_access(store.filesystem, "read"):
        written_s = store.filesystem.modified_s(f"models/{name}/{version}/manifest.json")
    return written_s is not None and written_s >= oldest_kept_s


def _has_files(filesystem: FileSystem) -> bool:
    """Whether there is anything whose age matters: a store that is not there is not made by asking for its time."""
    return any(filesystem.names(folder) for folder in ("blobs/sha256", "tmp", "models"))


def _marked(store: Store, present: dict[str, list[int]], unwanted: Collection[tuple[str, int]]) -> set[str]:
    """Digests of all files of the versions that stay."""
    kept = [(name, number) for name, numbers in present.items() for number in numbers if (name, number) not in unwanted]
    marked: set[str] = set()
    for name, version in kept:
        try:
            # A rival may have removed the version.
            with suppress(ModelNotFound):
                marked |= {entry.sha256 for entry in store.manifest(name, version).files.values()}
        except IntegrityError as error:
            raise StoreError(
                f"nothing is pruned while it is unknown which files are needed: {error.message}, and remove "
                f"models/{name}/{version} from the store",
                model=name,
                version=version,
            ) from error
    return marked


def _remove_version(filesystem: FileSystem, name: str, version: int) -> None:
    """The manifest first: from then on the version is absent, whatever becomes of the rest."""
    folder = f"models/{name}/{version}"
    filesystem.remove(f"{folder}/manifest.json")
    for record in filesystem.names(f"{folder}/signatures"):
        filesystem.remove(f"{folder}/signatures/{record}")
    filesystem.remove_folder(f"{folder}/signatures")
    filesystem.remove_folder(folder)


class _Sweep:
    """Removes what is old, or only looks."""

    def __init__(self, filesystem: FileSystem, oldest_kept_s: float, dry_run: bool) -> None:
        self._filesystem = filesystem
        self._oldest_kept_s = oldest_kept_s
        self._dry_run = dry_run

    def removes(self, path: str, file: StoredFile) -> bool:
        """Whether the file goes. It is looked at once more: a publisher that needs a blob again has written it anew."""
        if file.modified_s >= self._oldest_kept_s:
            return False
        modified_s = self._filesystem.modified_s(path)
        if modified_s is None or modified_s >= self._oldest_kept_s:
            return False
        if not self._dry_run:
            self._filesystem.remove(path)
        return True


def _store_time_s(filesystem: FileSystem) -> float:
    """Now, by the clock that dates the files: an object store's may be another than this machine's."""
    probe = f"tmp/{uuid4().hex}"
    filesystem.create(probe, b"onegate")
    try:
        modified_s = filesystem.modified_s(probe)
    finally:
        filesystem.remove(probe)
    assert modified_s is not None, "it was written just now"
    return modified_s
