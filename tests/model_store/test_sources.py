import hashlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from model_store.errors import SourceError
from model_store.sources import digest_source, resolve_source
from tests.sources.archives_writing import files_in

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "digits.pt2").write_bytes(b"model")
    return tmp_path


@pytest.fixture
def remote() -> Iterator[str]:
    root = f"memory://{uuid4().hex}"
    memory = fsspec.filesystem("memory")
    memory.pipe({f"{root}/ranker.txt": b"tree", f"{root}/saved/model.pb": b"pb", f"{root}/saved/v/x": b"weights"})
    yield root
    memory.rm(root, recursive=True)


@contextmanager
def without_privileges() -> Iterator[None]:
    """As another user, where the tests run as root, whom no permission stops."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_path_is_taken_relative_to_base_and_returned_as_it_is(base: Path) -> None:
    found = resolve_source("exports/digits.pt2", base, base / "work")

    assert found == base / "exports" / "digits.pt2"
    assert not (base / "work").exists()


def test_absolute_path_home_and_file_url_are_local(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(base))
    (base / "a b").write_bytes(b"model")

    for source in (f"{base}/a b", "~/a b", f"file://{base}/a%20b", f"file://localhost{base}/a%20b"):
        assert resolve_source(source, Path("/elsewhere"), base / "work") == base / "a b"


def test_folder_and_link_to_it_are_sources(base: Path) -> None:
    (base / "link").symlink_to("exports")

    assert resolve_source("exports", base, base / "work") == base / "exports"
    assert resolve_source("link", base, base / "work") == base / "link"


def test_missing_source_names_where_and_what_is_near(base: Path) -> None:
    with pytest.raises(SourceError) as caught:
        resolve_source("exports/digit.pt2", base, base / "work")

    assert caught.value.message == (
        f"source 'exports/digit.pt2' does not exist: looked for 'digit.pt2' in '{base}/exports'; near it: digits.pt2"
    )
    assert caught.value.details == {"source": "exports/digit.pt2", "near": ["digits.pt2"]}


@pytest.mark.parametrize("source", ["nowhere/model.pt2", "exports/digits.pt2/inside", "zzz"])
def test_missing_source_with_nothing_near_says_so(base: Path, source: str) -> None:
    with pytest.raises(SourceError, match=rf"^source '{source}' does not exist: looked for [^;]*$"):
        resolve_source(source, base, base / "work")


@pytest.mark.parametrize("source", ["", "  ", "a\0b"])
def test_source_that_names_nothing_is_refused(base: Path, source: str) -> None:
    with pytest.raises(SourceError, match="expected the path or URL of an exported model"):
        resolve_source(source, base, base / "work")


def test_empty_file_and_empty_folder_are_refused(base: Path) -> None:
    (base / "empty").write_bytes(b"")
    (base / "folder" / "below").mkdir(parents=True)

    with pytest.raises(SourceError, match=r"source 'empty' is empty: .* got 0 bytes"):
        resolve_source("empty", base, base / "work")
    with pytest.raises(SourceError, match=r"source 'folder' is empty: .* got no files"):
        resolve_source("folder", base, base / "work")


def test_git_lfs_pointer_is_named_as_such(base: Path) -> None:
    (base / "model.onnx").write_bytes(LFS_POINTER)
    (base / "saved").mkdir()
    (base / "saved" / "__init__.py").write_bytes(b"")
    (base / "saved" / "weights.bin").write_bytes(LFS_POINTER)

    with pytest.raises(SourceError, match=r"'model\.onnx' is a Git-LFS pointer, not the model; run `git lfs"):
        resolve_source("model.onnx", base, base / "work")
    with pytest.raises(SourceError, match=r"source 'saved': 'weights\.bin' is a Git-LFS pointer"):
        resolve_source("saved", base, base / "work")


def test_unreadable_source_says_why(base: Path) -> None:
    (base / "exports" / "digits.pt2").chmod(0)

    with without_privileges(), pytest.raises(SourceError, match="can't be read: Permission denied"):
        resolve_source("exports/digits.pt2", base, base / "work")


def test_link_to_nowhere_names_its_target(base: Path) -> None:
    (base / "link").symlink_to("gone/model.pt2")

    with pytest.raises(SourceError, match=r"source 'link' is a link that leads nowhere: 'gone/model\.pt2'"):
        resolve_source("link", base, base / "work")


def test_pipe_device_and_socket_are_refused_without_waiting(base: Path) -> None:
    os.mkfifo(base / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(base / "socket"))

    for source in ("pipe", "socket", "/dev/zero"):
        with pytest.raises(SourceError, match="expected a file or folder, got a device, pipe or socket"):
            resolve_source(source, base, base / "work")
    with pytest.raises(SourceError, match="got none or a device, pipe or socket"):
        digest_source(base / "pipe")


def test_remote_file_is_downloaded_under_its_name(remote: str, base: Path) -> None:
    for _ in range(2):
        found = resolve_source(f"{remote}/ranker.txt", base, base / "work")

        assert found == base / "work" / "ranker.txt"
        assert found.read_bytes() == b"tree"


def test_remote_folder_is_downloaded_without_what_an_earlier_download_left(remote: str, base: Path) -> None:
    (base / "work" / "saved").mkdir(parents=True)
    (base / "work" / "saved" / "stale").write_bytes(b"stale")

    found = resolve_source(f"{remote}/saved", base, base / "work")

    assert found == base / "work" / "saved"
    assert files_in(found) == {"model.pb": b"pb", "v/x": b"weights"}


def test_missing_remote_source_names_what_is_near(remote: str, base: Path) -> None:
    with pytest.raises(SourceError, match=rf"source '{remote}/rankers\.txt' does not exist: .*near it: ranker\.txt"):
        resolve_source(f"{remote}/rankers.txt", base, base / "work")


def test_empty_remote_file_is_refused(remote: str, base: Path) -> None:
    fsspec.filesystem("memory").pipe_file(f"{remote}/empty", b"")

    with pytest.raises(SourceError, match="is empty"):
        resolve_source(f"{remote}/empty", base, base / "work")


def test_markers_of_remote_folders_are_no_files(remote: str, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The S3 console makes an empty object named `folder/` when it makes a folder."""
    saved = f"/{remote[9:]}/saved"
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *_: [saved, f"{saved}/", f"{saved}/v/", f"{saved}/v/x"])

    found = resolve_source(f"{remote}/saved", base, base / "work")

    assert [p.relative_to(found).as_posix() for p in sorted(found.rglob("*"))] == ["v", "v/x"]


def test_remote_folder_whose_names_escape_is_refused(remote: str, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = f"/{remote[9:]}/saved"
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *_: [f"{saved}/../../escape"])

    with pytest.raises(SourceError, match=r"'\.\./\.\./escape' leads out of the folder"):
        resolve_source(f"{remote}/saved", base, base / "work")
    assert not (base / "escape").exists()


@pytest.mark.parametrize(
    ("source", "extra"),
    [("s3://exports/x.onnx", "s3"), ("gs://exports/x.onnx", "gcs"), ("az://exports/x.onnx", "azure")],
)
def test_missing_package_names_the_extra(base: Path, source: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("s3fs", "gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, package, None)
    for scheme_seen in list(sys.modules["fsspec.registry"]._registry):
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme_seen)

    with pytest.raises(SourceError, match=rf"^source '{source}' can't be read: .* pip install 'onegate\[{extra}\]'$"):
        resolve_source(source, base, base / "work")


def test_unknown_scheme_is_a_source_error(base: Path) -> None:
    with pytest.raises(SourceError, match="can't be read: Protocol not known: nosuch"):
        resolve_source("nosuch://x/y", base, base / "work")


def test_digest_of_a_file_is_the_sha256_of_its_bytes(base: Path) -> None:
    (base / "big").write_bytes(b"0123456789" * 300_000)

    assert digest_source(base / "exports" / "digits.pt2") == hashlib.sha256(b"model").hexdigest()
    assert digest_source(base / "big") == hashlib.sha256(b"0123456789" * 300_000).hexdigest()


def test_digest_of_a_folder_is_that_of_sorted_paths_sizes_and_bytes(base: Path) -> None:
    folder = base / "saved"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "z").write_bytes(b"inner")
    (folder / "b.txt").write_bytes(b"")
    (folder / "a").write_bytes(b"first")

    written_out = b"a\x005\x00first" + b"b.txt\x000\x00" + b"b/z\x005\x00inner"
    assert digest_source(folder) == hashlib.sha256(written_out).hexdigest()


def test_digest_of_a_folder_tells_names_and_cuts_apart(base: Path) -> None:
    digests = set()
    for number, content in enumerate([{"a": b"xy"}, {"b": b"xy"}, {"a": b"x", "b": b"y"}, {"c/a": b"xy"}]):
        for name, data in content.items():
            path = base / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        digests.add(digest_source(base / str(number)))

    assert len(digests) == 4


def test_digest_does_not_depend_on_where_the_folder_lies(base: Path) -> None:
    for parent in ("one", "two"):
        (base / parent / "x").mkdir(parents=True)
        (base / parent / "x" / "weights").write_bytes(b"w")
        (base / parent / "x" / "same").symlink_to("weights")
        (base / parent / "x" / "again").symlink_to(".")

    assert digest_source(base / "one" / "x") == digest_source(base / "two" / "x")


@pytest.mark.parametrize("target", ["../exports/digits.pt2", "/etc/hostname", "gone", "..", "self"])
def test_link_that_leaves_the_folder_or_leads_nowhere_is_refused(base: Path, target: str) -> None:
    (base / "saved").mkdir()
    (base / "saved" / "self").symlink_to(target)

    with pytest.raises(SourceError, match="'self' is a link"):
        digest_source(base / "saved")


def test_digest_of_what_is_missing_is_a_source_error(base: Path) -> None:
    with pytest.raises(SourceError, match="expected a file, got none"):
        digest_source(base / "gone")


def test_digest_of_an_unreadable_folder_is_a_source_error(base: Path) -> None:
    with without_privileges(), pytest.raises(SourceError, match="can't be read: Permission denied"):
        digest_source(base / "exports")
