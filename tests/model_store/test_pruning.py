import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from model_store.blobs import GRACE_S
from model_store.errors import StoreError
from model_store.manifest import Manifest
from model_store.pruning import YOUNG, Kept, Pruned, prune
from model_store.signing import sign
from model_store.store import Store
from tests.model_store import sweeping
from tests.model_store.publishing import MODEL_BYTES, manifest, write_model
from tests.model_store.s3 import BUCKET, s3_way
from tests.model_store.test_signing import KEY

DAYS_AGO_S = 3 * 24 * 3600.0
NOTHING = Pruned((), 0, 0, 0, 0)


def publish(store: Store, folder: Path, key: str, name: str = "digits") -> Manifest:
    """A version with a model of its own, and weights that all share."""
    files = write_model(folder / "made")
    files["model.onnx"].write_bytes(MODEL_BYTES + key.encode())
    return store.publish(manifest(name, key), files)


def make_old(store: Store) -> None:
    """Dates all that is in the store three days back."""
    then_s = time.time() - DAYS_AGO_S
    for path in Path(store.url).rglob("*"):
        os.utime(path, (then_s, then_s))


def blobs(store: Store) -> set[str]:
    return set(store.filesystem.names("blobs/sha256"))


def orphan(store: Store, content: bytes = b"orphan") -> str:
    path = Path(store.url) / "blobs" / "sha256" / ("0" * 64)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path.name


def test_blob_that_no_version_names_is_removed_when_it_is_old(store: Store, tmp_path: Path) -> None:
    version = publish(store, tmp_path, "key-1")
    needed = blobs(store)
    orphan(store)

    assert prune(store) == Pruned((), 0, 0, 0, young=1)
    make_old(store)
    assert prune(store, dry_run=True) == Pruned((), 1, 6, 0, 0)
    assert len(blobs(store)) == 3
    assert prune(store) == Pruned((), 1, 6, 0, 0)
    assert blobs(store) == needed
    assert prune(store) == NOTHING
    store.check(version)


def test_versions_stay_unless_it_is_asked_to_keep_only_some(store: Store, tmp_path: Path) -> None:
    for number in range(1, 6):
        publish(store, tmp_path, f"key-{number}")
    publish(store, tmp_path, "key-1", "other")
    sign(store, "digits", 2, KEY)
    make_old(store)
    size = len(MODEL_BYTES) + len("key-1")

    assert prune(store) == NOTHING
    # Version 1 and its `other` share their model.
    assert prune(store, keep=2, needed=lambda _: {3: "asked for"}) == Pruned(
        (("digits", 1), ("digits", 2)), 1, size, 0, 0, kept=(Kept("digits", 3, "asked for"),)
    )
    assert store.versions("digits") == [3, 4, 5]
    assert store.versions("other") == [1]
    assert not (Path(store.url) / "models" / "digits" / "2").exists()
    for name in store.models():
        for version in store.versions(name):
            store.check(store.manifest(name, version))
    assert prune(store, keep=1).versions == (("digits", 3), ("digits", 4))
    assert publish(store, tmp_path, "key-6").version == 6


def test_version_of_the_last_24_hours_stays_whatever_its_manifest_says_of_its_time(
    store: Store, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        publish(store, tmp_path, f"key-{number}")
    written_s = (Path(store.url) / "models/digits/1/manifest.json").stat().st_mtime
    # `created` says another time, by the clock of who published.
    assert store.manifest("digits", 1).created == "2026-01-02T03:04:05+00:00"
    older_s = written_s - 60
    os.utime(Path(store.url) / "models/digits/1/manifest.json", (older_s, older_s))

    assert prune(store, keep=1, now_s=older_s + GRACE_S) == Pruned(
        (), 0, 0, 0, 0, kept=(Kept("digits", 1, YOUNG), Kept("digits", 2, YOUNG))
    )
    assert prune(store, keep=1, now_s=older_s + GRACE_S + 1) == Pruned(
        (("digits", 1),), 0, 0, 0, young=1, kept=(Kept("digits", 2, YOUNG),)
    )
    assert store.versions("digits") == [2, 3]


def test_leftovers_of_killed_writers_go_and_the_lock_stays(store: Store) -> None:
    for name in ("cut-off", "lock"):
        (Path(store.url) / "tmp" / name).write_bytes(b"")
    make_old(store)

    assert prune(store) == Pruned((), 0, 0, 1, 0)
    assert store.filesystem.names("tmp") == ["lock"]


def test_damaged_manifest_stops_it_before_anything_is_removed(store: Store, tmp_path: Path) -> None:
    publish(store, tmp_path, "key-1")
    publish(store, tmp_path, "key-2")
    orphan(store)
    (Path(store.url) / "models/digits/1/manifest.json").chmod(0o644)
    (Path(store.url) / "models/digits/1/manifest.json").write_bytes(b"{")
    make_old(store)
    before = blobs(store)

    with pytest.raises(StoreError, match=r"^nothing is pruned while .*; publish it again, and remove models/digits/1 "):
        prune(store)
    assert blobs(store) == before
    # Where it is not kept anyhow, nobody needs to know.
    assert prune(store, keep=1).versions == (("digits", 1),)
    assert store.versions("digits") == [2]


def test_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert prune(Store(str(tmp_path / "mistyped"))) == NOTHING
    assert not (tmp_path / "mistyped").exists()


def test_old_blob_that_a_publisher_needs_again_is_written_anew(store: Store, tmp_path: Path) -> None:
    files = write_model(tmp_path / "made")
    store.publish(manifest(), files)
    make_old(store)
    (Path(store.url) / "models/digits/1/manifest.json").unlink()

    published = store.publish(manifest(), files)
    assert prune(store) == NOTHING
    make_old(store)
    (Path(store.url) / "models/digits/1/manifest.json").unlink()
    real = store.filesystem.create

    def create(path: str, data: bytes) -> None:
        # Between the blobs and the manifest that names them.
        assert prune(Store(store.url)).blobs == 0
        real(path, data)

    store.filesystem.create = create  # type: ignore[method-assign]
    assert store.publish(manifest(), files) == published
    store.check(published)


def test_blob_that_was_removed_under_a_publisher_is_put_back(store: Store, tmp_path: Path) -> None:
    real = store.filesystem.create

    def create(path: str, data: bytes) -> None:
        # A pruner that had looked at the blob's age just before it was written anew.
        for name in blobs(store):
            store.filesystem.remove(f"blobs/sha256/{name}")
        real(path, data)

    store.filesystem.create = create  # type: ignore[method-assign]
    store.check(publish(store, tmp_path, "key-1"))


def test_publisher_and_pruner_at_once_leave_every_version_whole(store: Store, tmp_path: Path) -> None:
    """The same few blobs are published again and again, and most of the time nobody needs them."""
    ended, dating = threading.Event(), threading.Lock()
    pruned: list[Pruned] = []

    def keep_pruning() -> None:
        while not ended.is_set():
            # A blob grows old within a moment here, but not between two looks of one pruner.
            with dating:
                pruned.append(prune(Store(store.url), keep=1))

    pruner = threading.Thread(target=keep_pruning)
    pruner.start()
    try:
        for number in range(1, 41):
            published = publish(store, tmp_path, f"key-{number % 4}")
            store.check(published)
            if number % 2:
                with dating:
                    make_old(store)
    finally:
        ended.set()
        pruner.join()
    assert sum(each.blobs for each in pruned) > 0
    for version in store.versions("digits"):
        store.check(store.manifest("digits", version))


def test_two_pruners_at_once_do_not_mind_each_other(store: Store, tmp_path: Path) -> None:
    for number in range(1, 13):
        publish(store, tmp_path, f"key-{number}")
    make_old(store)

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: prune(Store(store.url), keep=1), range(2)))

    assert store.versions("digits") == [12]
    assert len(blobs(store)) == 2
    assert {len(each.versions) for each in both} <= set(range(12))
    store.check(store.manifest("digits", 12))


def test_pruner_killed_at_any_write_leaves_versions_whole_or_absent(tmp_path: Path) -> None:
    killed = 0
    for die_at in range(1, 200):
        store = Store.open(str(tmp_path / f"{die_at}"))
        for key in ("key-1", "key-2", "key-3"):
            publish(store, tmp_path, key)
        sign(store, "digits", 1, KEY)
        orphan(store)
        make_old(store)
        process = subprocess.run(
            [sys.executable, sweeping.__file__, store.url, "1", str(die_at)],
            env={**os.environ, "PYTHONPATH": str(Path(sweeping.__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=60,
        )
        for version in store.versions("digits"):
            store.check(store.manifest("digits", version))
        assert publish(store, tmp_path, "key-4").version == 4
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, process.stderr
        killed += 1
        prune(store, keep=1)
        assert store.versions("digits") == [4]
    assert killed > 12


@pytest.fixture
def remote() -> Iterator[Store]:
    with s3_way():
        yield Store(f"s3://{BUCKET}/{uuid4().hex}")


def test_store_on_s3_is_pruned_by_its_own_clock(remote: Store, tmp_path: Path) -> None:
    for key in ("key-1", "key-2"):
        publish(remote, tmp_path, key)
    sign(remote, "digits", 1, KEY)
    size = len(MODEL_BYTES) + len("key-1")

    assert prune(remote, keep=1) == Pruned((), 0, 0, 0, 0, kept=(Kept("digits", 1, YOUNG),))
    assert prune(remote, keep=1, now_s=time.time() + 2 * DAYS_AGO_S) == Pruned((("digits", 1),), 1, size, 0, 0)
    assert remote.versions("digits") == [2]
    assert remote.filesystem.names("models/digits") == ["2"]
    assert remote.filesystem.names("tmp") == []
    remote.check(remote.manifest("digits", 2))
