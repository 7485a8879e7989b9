import errno
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_store.errors import StoreError
from model_store.local import LEFTOVER_AGE_S, LocalFileSystem
from model_store.store import Store
from tests.model_store import publishing
from tests.model_store.publishing import MODEL_BYTES, manifest, write_model


def run_writer(url: Path, files: Path, die_at: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, publishing.__file__, str(url), str(files), "digits", "1", "1", str(die_at)],
        env={**os.environ, "PYTHONPATH": str(Path(publishing.__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )


def assert_whole_or_absent(store: Store) -> None:
    for version in store.versions("digits"):
        published = store.manifest("digits", version)
        assert store.read(published.files["model.onnx"]) == MODEL_BYTES + b"digits"
        assert store.read(published.files["external/weights.bin"]) == b"weightsdigits"
    assert store.models() == (["digits"] if store.versions("digits") else [])


def test_writer_killed_at_any_write_leaves_the_store_whole(tmp_path: Path) -> None:
    """Each round kills a writer one call later, in a new store; then another writer publishes the same."""
    files = write_model(tmp_path / "later", b"digits")
    absent = present = 0
    for die_at in range(1, 1000):
        store = Store(str(tmp_path / str(die_at)))
        writer = run_writer(Path(store.url), tmp_path / "made", die_at)
        if writer.returncode == 0:
            break
        assert writer.returncode == -signal.SIGKILL, writer.stderr
        assert_whole_or_absent(store)
        absent, present = absent + (not store.versions("digits")), present + bool(store.versions("digits"))

        assert Store.open(store.url).publish(manifest(key="key-1"), files).version == 1
        assert store.versions("digits") == [1]
        assert_whole_or_absent(store)
        assert store.publish(manifest(key="key-2"), files).version == 2
    # A first publish makes 57 writing calls; far fewer would mean that the faults no longer reach them.
    assert absent > 40
    assert present > 2


def test_writers_killed_one_after_the_other_in_one_store_never_harm_it(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    killed = 0
    for die_at in range(1, 1000):
        writer = run_writer(Path(store.url), tmp_path / "made", die_at)
        assert_whole_or_absent(store)
        if writer.returncode == 0:
            break
        killed += 1
    # Each finds the blobs that those before it brought to an end, so that the last has little left to do.
    assert 5 < killed < 40
    assert writer.stdout == "1\n"
    assert store.versions("digits") == [1]


def test_old_leftovers_are_removed_when_the_store_is_opened_and_young_ones_kept(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    old, young = tmp_path / "store" / "tmp" / "old", tmp_path / "store" / "tmp" / "young"
    for leftover in (old, young):
        leftover.write_bytes(b"cut off")
    long_ago = time.time() - LEFTOVER_AGE_S - 60
    os.utime(old, (long_ago, long_ago))

    Store.open(store.url)

    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize(("below", "reason"), [("file/store", "Not a directory"), ("n" * 300, "File name too long")])
def test_store_that_cannot_be_created_says_where_and_why(tmp_path: Path, below: str, reason: str) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreError, match=rf"^store '{tmp_path}/{below}' can't be written: {reason}; ") as caught:
        Store.open(str(tmp_path / below))
    assert caught.value.details == {"store": str(tmp_path / below), "reason": reason}


def test_store_in_a_folder_that_takes_no_files_says_where_and_why() -> None:
    with pytest.raises(StoreError, match=r"^store '/proc/onegate' can't be written: No such file or directory; "):
        Store.open("/proc/onegate")


def can_mount() -> bool:
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0


def run_writer_on_tmpfs(tmp_path: Path, options: str) -> subprocess.CompletedProcess[str]:
    """A writer whose store is a file system of its own, gone when it ends; prints the files left there."""
    script = 'mount -t tmpfs -o "$1" onegate "$2" && { "$3" "$4" "$2" "$5" digits 1 1 0; find "$2" -type f; }'
    arguments: list[str | Path] = [
        options,
        tmp_path / "mount",
        sys.executable,
        publishing.__file__,
        tmp_path / "made",
    ]
    (tmp_path / "mount").mkdir()
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(publishing.__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a file system")
@pytest.mark.parametrize(
    ("options", "reason"), [("size=1m", "No space left on device"), ("ro", "Read-only file system")]
)
def test_file_system_that_takes_no_more_says_why_and_keeps_nothing(tmp_path: Path, options: str, reason: str) -> None:
    writer = run_writer_on_tmpfs(tmp_path, options)

    error = writer.stderr.splitlines()[-1]
    assert error.startswith(f"model_store.errors.StoreError: store '{tmp_path}/mount' can't be written: {reason}; ")
    assert writer.stdout == ""


def test_limit_on_file_size_says_why_and_leaves_no_version(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    write_model(tmp_path / "made", b"digits")
    store = Store.open(str(tmp_path / "store"))
    code = (
        "import sys; from pathlib import Path; from model_store.store import Store; "
        "from tests.model_store.publishing import manifest; "
        "Store(sys.argv[1]).publish(manifest(), {'model.onnx': Path(sys.argv[2])})"
    )
    writer = subprocess.run(
        [sys.executable, "-c", code, store.url, tmp_path / "made" / "model.onnx"],
        cwd=Path(publishing.__file__).parents[2],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert f"StoreError: store '{store.url}' can't be written: File too large" in writer.stderr.splitlines()[-1]
    assert store.models() == []
    assert os.listdir(Path(store.url) / "tmp") == []


def refuse_links(*_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("hard_links", [True, False])
def test_of_many_that_create_one_file_one_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    if not hard_links:
        monkeypatch.setattr(os, "link", refuse_links)
    filesystem = LocalFileSystem(tmp_path)

    def create(number: int) -> int | None:
        try:
            filesystem.create("a/b/file", b"%d" % number * 100_000)
        except FileExistsError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        won = [number for number in pool.map(create, range(24)) if number is not None]

    assert len(won) == 1
    assert filesystem.read("a/b/file") == b"%d" % won[0] * 100_000
    assert [name for name in filesystem.names("tmp") if name != "lock"] == []


def test_file_system_without_hard_links_serves_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse_links)
    store = Store.open(str(tmp_path / "store"))
    published = store.publish(manifest(), write_model(tmp_path / "made"))

    folder = store.checkout(published, tmp_path / "out")

    assert store.publish(manifest(key="key-2"), write_model(tmp_path / "made")).version == 2
    assert (folder / "model.onnx").read_bytes() == MODEL_BYTES
    assert not os.access(folder / "model.onnx", os.W_OK) or os.geteuid() == 0


def test_file_that_changes_while_it_is_uploaded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(b"changed")
    filesystem = LocalFileSystem(tmp_path / "store")

    with pytest.raises(OSError, match=f"expected sha256 {'0' * 64}, got "):
        filesystem.upload(tmp_path / "made", "blobs/x", "0" * 64)
    assert filesystem.names("blobs") == []
    assert filesystem.names("tmp") == []
