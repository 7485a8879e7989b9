import hashlib
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from model_store import generations
from model_store.errors import Conflict, IntegrityError, ModelNotFound, StoreError
from model_store.filesystems import is_inside, local_path
from model_store.remote import RemoteFileSystem
from model_store.store import Store
from tests.model_store.publishing import MODEL_BYTES, manifest, write_model


@pytest.fixture
def url() -> Iterator[str]:
    """A folder of fsspec's in-memory file system, which all of the process shares."""
    root = f"memory://{uuid4().hex}/store"
    yield root
    memory = fsspec.filesystem("memory")
    if memory.exists(root):
        memory.rm(root, recursive=True)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return write_model(tmp_path / "made")


def test_remote_store_gives_back_what_was_published(url: str, files: dict[str, Path], tmp_path: Path) -> None:
    store = Store.open(url)
    assert store.models() == []
    first = store.publish(manifest(), files)
    second = store.publish(manifest(key="key-2"), files)
    folder = store.checkout(first, tmp_path / "out")

    assert (first.version, second.version) == (1, 2)
    assert store.url == url
    assert store.models() == ["digits"]
    assert Store(url).versions("digits") == [1, 2]
    assert store.find("digits", "key-2") == second
    assert store.publish(manifest(), files) == first
    assert store.read(first.files["model.onnx"]) == MODEL_BYTES
    assert (folder / "model.onnx").read_bytes() == MODEL_BYTES
    assert (folder / "external" / "weights.bin").read_bytes() == b"weights"
    with pytest.raises(ModelNotFound, match=r"it has 1, 2$"):
        store.manifest("digits", 3)
    assert store.filesystem.names("tmp") == []


def test_remote_store_finds_flipped_and_missing_bytes(url: str, files: dict[str, Path], tmp_path: Path) -> None:
    store = Store.open(url)
    published = store.publish(manifest(), files)
    blob = f"{url}/blobs/sha256/{published.files['model.onnx'].sha256}"
    fsspec.filesystem("memory").pipe_file(blob, b"\0" + MODEL_BYTES[:-1])

    with pytest.raises(IntegrityError, match=r"file 'model\.onnx' in store 'memory://"):
        store.checkout(published, tmp_path / "out")
    fsspec.filesystem("memory").rm_file(blob)
    with pytest.raises(IntegrityError, match="the blob is missing"):
        store.read(published.files["model.onnx"])
    store.publish(manifest(), files)
    assert store.read(published.files["model.onnx"]) == MODEL_BYTES


def test_remote_store_keeps_generations(url: str) -> None:
    store = Store.open(url)
    first = generations.append(store, 1, {"models": []})

    assert generations.newest(store) == first
    with pytest.raises(Conflict):
        generations.append(store, 1, {"models": ["other"]})
    assert generations.newest(store) == first


def test_remote_store_survives_pickling(url: str, files: dict[str, Path]) -> None:
    published = Store.open(url).publish(manifest(), files)

    assert pickle.loads(pickle.dumps(Store(url))).manifest("digits", 1) == published


def test_rival_that_wins_the_number_leaves_the_next_one(
    url: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rival publishes after the number was chosen and before it is written."""
    real = MemoryFileSystem.pipe_file
    rival_came = False

    def pipe_file(self: Any, path: str, value: bytes, **options: Any) -> Any:
        nonlocal rival_came
        if path.endswith("digits/1/manifest.json") and not rival_came:
            rival_came = True
            Store(url).publish(manifest(key="rival"), files)
        return real(self, path, value, **options)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", pipe_file)
    published = Store.open(url).publish(manifest(), files)

    assert published.version == 2
    assert Store(url).manifest("digits", 1).key == "rival"


def test_create_whose_answer_was_lost_counts_as_done(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3's driver then repeats the put and meets its own file; some races end in an error of another kind."""
    filesystem = RemoteFileSystem(url)
    real = MemoryFileSystem.pipe_file

    def put_and_fail(self: Any, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        raise ConnectionResetError("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "pipe_file", put_and_fail)
        filesystem.create("a/file", b"mine")

    assert filesystem.read("a/file") == b"mine"
    with pytest.raises(FileExistsError):
        filesystem.create("a/file", b"other")


def test_file_in_place_of_a_folder_is_an_error_and_no_lost_race(url: str, files: dict[str, Path]) -> None:
    store = Store.open(url)
    fsspec.filesystem("memory").pipe_file(f"{url}/models/digits", b"in the way")

    with pytest.raises(StoreError, match=f"store '{url}' can't be written: "):
        store.publish(manifest(), files)


def test_failure_of_a_driver_becomes_a_store_error_in_one_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(url)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("Unable to locate\n  credentials")

    expected = rf"^store '{url}' can't be read: Unable to locate credentials; .*$"
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "ls", fail)
        with pytest.raises(StoreError, match=expected) as caught:
            store.models()
    assert caught.value.details == {"store": url, "reason": "Unable to locate credentials"}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nosuch://bucket/store", "Protocol not known: nosuch"),
        ("file://server/share", "file:// with host 'server'; write file:///absolute/path or a plain path"),
    ],
)
def test_url_that_no_store_can_have_is_explained(url: str, reason: str) -> None:
    with pytest.raises(StoreError, match=rf"^store '{url}' can't be opened: {reason}"):
        Store(url)


@pytest.mark.parametrize(
    ("scheme", "extra"), [("s3", "s3"), ("gs", "gcs"), ("gcs", "gcs"), ("az", "azure"), ("abfs", "azure")]
)
def test_missing_package_names_the_extra(scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("s3fs", "gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, package, None)
    for scheme_seen in list(sys.modules["fsspec.registry"]._registry):
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme_seen)

    with pytest.raises(StoreError, match=rf"{scheme}:// is not installed; pip install 'onegate\[{extra}\]'"):
        Store(f"{scheme}://bucket/store")


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("a/b", Path("a/b")),
        ("/a b", Path("/a b")),
        ("~", Path(os.path.expanduser("~"))),
        ("file:///a%20b", Path("/a b")),
        ("file:///a/b", Path("/a/b")),
        ("file://localhost/a", Path("/a")),
        ("s3://bucket/a", None),
        ("memory://a", None),
    ],
)
def test_local_path_of_paths_and_urls(location: str, path: Path | None) -> None:
    assert local_path(location) == path


@pytest.mark.parametrize(
    "location", ["a\0", "~nobody-of-that-name", "~\0", "file:///%00", "file://[/a", "file://host/a"]
)
def test_what_no_path_can_be_is_an_os_error(location: str) -> None:
    with pytest.raises(OSError, match=r"^(no path: |file:// with host 'host')"):
        local_path(location)


@pytest.mark.parametrize(
    ("name", "inside"),
    [("a", True), ("a/b.c", True), ("..a", True), ("..", False), ("a/../b", False), ("/a", False),
     ("a/", False), (".", False), ("", False), ("a\0", False), ("a\\..\\b", False)],
)  # fmt: skip
def test_is_inside(name: str, inside: bool) -> None:
    assert is_inside(name) is inside


def test_source_that_changes_while_a_remote_upload_runs_is_refused(url: str, tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(b"changed")

    with pytest.raises(OSError, match=hashlib.sha256(b"changed").hexdigest()):
        RemoteFileSystem(url).upload(tmp_path / "made", "blobs/x", "0" * 64)
