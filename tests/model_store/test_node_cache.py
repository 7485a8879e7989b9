import hashlib
import logging
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_store import node_cache
from model_store.errors import IntegrityError, StoreError
from model_store.manifest import FileEntry
from model_store.node_cache import NodeCache, usable_folder
from model_store.store import Store
from tests.model_store import caching
from tests.model_store.publishing import MODEL_BYTES, manifest, write_model
from tests.model_store.s3 import BUCKET, s3_way


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    usable_folder.cache_clear()
    yield
    usable_folder.cache_clear()


def entry(content: bytes) -> FileEntry:
    return FileEntry(hashlib.sha256(content).hexdigest(), len(content))


class Source:
    """Hands out a content and counts how often."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.count = 0

    def __call__(self) -> Iterator[bytes]:
        self.count += 1
        yield self.content


def kept(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blobs").iterdir()}


def test_file_is_downloaded_once_and_linked_into_each_place(tmp_path: Path) -> None:
    cache, source = NodeCache(tmp_path / "cache", 1000), Source(b"model")

    assert all(cache.place(entry(b"model"), tmp_path / name, source) for name in ("a", "b", "c"))
    assert source.count == 1
    assert (tmp_path / "a").read_bytes() == b"model"
    assert (tmp_path / "a").samefile(tmp_path / "c")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o444
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    assert list((tmp_path / "cache" / "partial").iterdir()) == []


@pytest.mark.parametrize("position", range(5))
def test_flipped_bit_of_a_kept_file_is_found_and_the_file_downloaded_again(tmp_path: Path, position: int) -> None:
    cache, source = NodeCache(tmp_path / "cache", 1000), Source(b"model")
    cache.place(entry(b"model"), tmp_path / "a", source)
    blob = tmp_path / "cache" / "blobs" / entry(b"model").sha256
    os.unlink(tmp_path / "a")
    blob.chmod(0o644)
    changed = bytearray(b"model")
    changed[position] ^= 1
    blob.write_bytes(changed)

    assert cache.place(entry(b"model"), tmp_path / "b", source)
    assert (source.count, (tmp_path / "b").read_bytes()) == (2, b"model")


def test_longest_unused_goes_first_and_what_is_linked_lives_on(tmp_path: Path) -> None:
    cache, folder = NodeCache(tmp_path / "cache", 100), tmp_path / "cache"
    contents = [b"1" * 40, b"2" * 40, b"3" * 40]
    for number, content in enumerate(contents[:2]):
        cache.place(entry(content), tmp_path / f"{number}", Source(content))
    for number, content in enumerate(contents[:2]):
        os.utime(folder / "blobs" / entry(content).sha256, (1000 + number, 1000 + number))
    cache.place(entry(contents[0]), tmp_path / "again", Source(contents[0]))
    cache.place(entry(contents[2]), tmp_path / "2", Source(contents[2]))

    assert kept(folder) == {entry(contents[0]).sha256, entry(contents[2]).sha256}
    assert (tmp_path / "1").read_bytes() == contents[1]


def test_file_that_another_process_holds_is_not_removed(tmp_path: Path) -> None:
    cache, folder = NodeCache(tmp_path / "cache", 50), tmp_path / "cache"
    cache.place(entry(b"1" * 40), tmp_path / "1", Source(b"1" * 40))
    with node_cache._locked(folder, entry(b"1" * 40).sha256):
        cache.place(entry(b"2" * 40), tmp_path / "2", Source(b"2" * 40))
        assert kept(folder) == {entry(b"1" * 40).sha256, entry(b"2" * 40).sha256}
    cache.place(entry(b"3" * 40), tmp_path / "3", Source(b"3" * 40))
    assert kept(folder) == {entry(b"3" * 40).sha256}


def test_file_larger_than_the_cache_is_left_to_the_caller(tmp_path: Path) -> None:
    assert not NodeCache(tmp_path / "cache", 4).place(entry(b"model"), tmp_path / "a", Source(b"model"))
    assert not (tmp_path / "a").exists()


def test_other_file_system_gets_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert NodeCache(tmp_path / "cache", 1000).place(entry(b"model"), tmp_path / "a", Source(b"model"))
    assert (tmp_path / "a").read_bytes() == b"model"


def test_failed_download_leaves_nothing_and_tells_its_own_reason(tmp_path: Path) -> None:
    def fails() -> Iterator[bytes]:
        yield b"mod"
        raise StoreError("the store is away")

    with pytest.raises(StoreError, match=r"^the store is away$"):
        NodeCache(tmp_path / "cache", 1000).place(entry(b"model"), tmp_path / "a", fails)
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [entry(b"model").sha256[:2]]
    assert not (tmp_path / "a").exists()


def test_cache_that_takes_no_more_is_gone_without_and_keeps_nothing_half(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = b"m" * (2 << 20)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        assert not NodeCache(tmp_path / "cache", 1 << 30).place(entry(content), tmp_path / "a", Source(content))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "cache" / "partial").iterdir()) == []
    assert kept(tmp_path / "cache") == set()
    assert not (tmp_path / "a").exists()
    assert caplog.messages[-1].endswith(f"can't be used for {entry(content).sha256}: File too large")


def test_folder_that_can_not_be_written_gives_way_to_the_temporary_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    spare = tmp_path / "tmp" / f"onegate-blobs-{os.geteuid()}"
    with caplog.at_level(logging.WARNING, "onegate"):
        assert NodeCache(tmp_path / "file" / "cache", 1000).place(entry(b"a"), tmp_path / "a", Source(b"a"))

    assert kept(spare) == {entry(b"a").sha256}
    assert caplog.messages == [
        f"the store cache can't be kept in {tmp_path}/file/cache: Not a directory",
        f"the store cache is kept in {spare} instead",
    ]


def test_folder_that_others_may_write_in_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in (tmp_path / "cache", tmp_path / "tmp" / f"onegate-blobs-{os.geteuid()}"):
        folder.mkdir()
        folder.chmod(0o777)
    with caplog.at_level(logging.WARNING, "onegate"):
        assert not NodeCache(tmp_path / "cache", 1000).place(entry(b"a"), tmp_path / "a", Source(b"a"))
    assert len([line for line in caplog.messages if "nobody else may write in" in line]) == 2


def run(tmp_path: Path, target: str, die_at: int = 0, pause_s: float = 0.0) -> subprocess.Popen[str]:
    source = tmp_path / "source.bin"
    source.write_bytes(MODEL_BYTES)
    arguments = [tmp_path / "cache", source, entry(MODEL_BYTES).sha256, tmp_path / target, die_at, pause_s]
    return subprocess.Popen(
        [sys.executable, caching.__file__, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(caching.__file__).parents[2])},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_at_once_download_a_file_once(tmp_path: Path) -> None:
    started = [run(tmp_path, f"out-{number}", pause_s=0.2) for number in range(4)]

    assert [process.communicate(timeout=60)[1] for process in started] == [""] * 4
    assert (tmp_path / "source.log").read_text() == "downloaded\n"
    assert all((tmp_path / f"out-{number}").read_bytes() == MODEL_BYTES for number in range(4))


def test_downloader_killed_at_any_write_leaves_nothing_broken(tmp_path: Path) -> None:
    killed = 0
    for die_at in range(1, 200):
        cache = tmp_path / "cache"
        process = run(tmp_path, f"out-{die_at}", die_at)
        errors = process.communicate(timeout=60)[1]
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        killed += 1
        for blob in (cache / "blobs").iterdir() if (cache / "blobs").is_dir() else ():
            assert blob.read_bytes() == MODEL_BYTES

        usable_folder.cache_clear()
        source, target = Source(MODEL_BYTES), tmp_path / f"later-{die_at}"
        assert NodeCache(cache, 1 << 30).place(entry(MODEL_BYTES), target, source)
        assert target.read_bytes() == MODEL_BYTES
        assert list((cache / "partial").iterdir()) == [] or source.count == 0
        # The next one is killed in a cache that is new again.
        subprocess.run(["rm", "-rf", cache], check=True)
    # 25 or so writing calls; far fewer would mean that the faults no longer reach them.
    assert killed > 12


def test_store_on_s3_is_downloaded_once_and_checked(tmp_path: Path) -> None:
    with s3_way() as way:
        url = f"s3://{BUCKET}/store"
        published = Store(url).publish(manifest(), write_model(tmp_path / "made"))
        before, cache = way.downloads, NodeCache(tmp_path / "cache", 1 << 30)
        for number in range(3):
            folder = Store(url, cache).checkout(published, tmp_path / f"out-{number}")
            assert (folder / "model.onnx").read_bytes() == MODEL_BYTES
            assert (folder / "external" / "weights.bin").read_bytes() == b"weights"
        assert way.downloads - before == 2

        from s3fs import S3FileSystem

        subprocess.run(["rm", "-rf", tmp_path / "cache"], check=True)
        usable_folder.cache_clear()
        blob = f"{url}/blobs/sha256/{published.files['model.onnx'].sha256}"
        S3FileSystem().pipe_file(blob, b"\1" + MODEL_BYTES[1:])
        with pytest.raises(IntegrityError, match=r"file 'model\.onnx' in store 's3://"):
            Store(url, cache).checkout(published, tmp_path / "flipped")
        assert kept(tmp_path / "cache") == set()
