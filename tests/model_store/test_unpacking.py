"""Hostile and damaged archives: each is refused by name, and nothing of it is left."""

import gzip
import io
import os
import random
import resource
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_store.errors import SourceError
from model_store.unpacking import UnpackLimits, unpack
from tests.sources.archives_writing import Files, files_in, write_folder, write_tgz, write_zip

Write = Callable[[Path, Files], Path]
MIB = 1 << 20
OUTSIDE = ["../out.txt", "a/../../out.txt", "/tmp/out.txt", "..\\out.txt", "C:/out.txt", "c:out.txt", "a/./b", "a//b"]


def tree(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.lstat().st_size for path in folder.rglob("*")}


def assert_refused(source: Path, *words: str, limits: UnpackLimits | None = None) -> None:
    """With a message of one line that has all words, and no trace."""
    before = tree(source.parent)
    with pytest.raises(SourceError) as caught:
        unpack(source, source.parent / "out", limits or UnpackLimits())
    assert caught.value.message.startswith(f"source {source.name!r}"), caught.value.message
    for word in words:
        assert word in caught.value.message
    assert "\n" not in caught.value.message
    assert tree(source.parent) == before


FILES = {"MAR-INF/MANIFEST.json": b"{}", "a/deep/file.bin": random.Random(4).randbytes(2_500_000), "empty.py": b""}


@pytest.mark.parametrize("write", [write_zip, write_tgz, write_folder])
def test_all_forms_give_the_same_files(tmp_path: Path, write: Write) -> None:
    source = write(tmp_path / "net.mar", FILES)
    unpack(source, tmp_path / "out")
    assert files_in(tmp_path / "out") == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.mar", "out"]


def test_an_empty_folder_is_filled_and_another_one_is_left_alone(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "net.mar", FILES)
    (tmp_path / "out").mkdir()
    unpack(source, tmp_path / "out")
    assert files_in(tmp_path / "out") == FILES
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert_refused(source, "Directory not empty")


def test_a_zip_in_the_zip_is_a_file(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.pt", {"archive/data.pkl": b"x"}).read_bytes()
    unpack(write_zip(tmp_path / "net.mar", {"net.pt": inner}), tmp_path / "out")
    assert files_in(tmp_path / "out") == {"net.pt": inner}


def test_folders_of_their_own_and_a_leading_dot_are_taken(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "net.mar", "w:gz") as archive:
        for name in (".", "./code"):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        info = tarfile.TarInfo("./code/a.py")
        archive.addfile(info, io.BytesIO())
    unpack(tmp_path / "net.mar", tmp_path / "out")
    assert files_in(tmp_path / "out") == {"code/a.py": b""}


@pytest.mark.parametrize("write", [write_zip, write_tgz])
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_may_lead_out_is_refused(tmp_path: Path, write: Write, name: str) -> None:
    (tmp_path / "here").mkdir()
    source = write(tmp_path / "here" / "net.mar", {"good.txt": b"1", name: b"2"})
    assert_refused(source, repr(name), "may lead out of the folder")
    assert not (tmp_path / "out.txt").exists()
    assert not Path("/tmp/out.txt").exists()


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "net.mar", {"goodXbad": b"1"})
    source.write_bytes(source.read_bytes().replace(b"goodXbad", b"good\0bad"))
    assert_refused(source, r"member 'good\x00bad'", "no plain relative path")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a\nb", "has a name with control characters"),
        ("a\x1b[31m", "has a name with control characters"),
        ("a\udcff", "or that is no UTF-8"),
        ("a/" * 101 + "b", "lies more than 100 folders deep"),
        ("a/" * 3000 + "b", "lies more than 100 folders deep"),
    ],
    ids=["newline", "escape", "no_utf8", "deep", "deeper"],
)
def test_a_name_that_others_stumble_over_is_refused(tmp_path: Path, name: str, words: str) -> None:
    assert_refused(write_tgz(tmp_path / "net.mar", {"good.txt": b"1", name: b"2"}), repr(name)[:200], words)


@pytest.mark.parametrize("write", [write_zip, write_tgz])
@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a", "b", "a"), ("member 'a'", "comes twice")),
        (("Model.py", "model.py"), ("member 'model.py'", "comes twice, as 'Model.py' before")),
        (("A/x", "a/y"), ("member 'a/y'", "differs from 'A' in case alone")),
        (("a", "a/b"), ("member 'a/b'", "lies in 'a', which is a file")),
        (("a/b", "a"), ("member 'a'", "comes twice")),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_collide_are_refused(
    tmp_path: Path, write: Write, names: tuple[str, ...], words: tuple[str, ...]
) -> None:
    contents = {f"{index}:{name}": str(index).encode() for index, name in enumerate(names)}
    if write is write_zip:
        with zipfile.ZipFile(tmp_path / "net.mar", "w") as archive:
            for name, content in contents.items():
                archive.writestr(name.partition(":")[2], content)
    else:
        with tarfile.open(tmp_path / "net.mar", "w:gz") as packed:
            for name in contents:
                packed.addfile(tarfile.TarInfo(name.partition(":")[2]), io.BytesIO())
    assert_refused(tmp_path / "net.mar", *words)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "is a link"),
        (tarfile.LNKTYPE, "is a hard link"),
        (tarfile.CHRTYPE, "is a device"),
        (tarfile.BLKTYPE, "is a device"),
        (tarfile.FIFOTYPE, "is a pipe"),
        (b"V", "is no plain file"),
        (tarfile.GNUTYPE_SPARSE, "is sparse"),
    ],
)
def test_a_tar_member_that_is_no_file_is_refused(tmp_path: Path, kind: bytes, words: str) -> None:
    with tarfile.open(tmp_path / "net.mar", "w:gz", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("good.txt")
        archive.addfile(info, io.BytesIO())
        info = tarfile.TarInfo("odd")
        info.type, info.linkname = kind, "/etc/passwd" if kind != tarfile.LNKTYPE else "good.txt"
        archive.addfile(info)
    assert_refused(tmp_path / "net.mar", "member 'odd'", words)


@pytest.mark.parametrize(
    ("mode", "words"), [(0o120777, "is a link"), (0o020666, "is a device"), (0o010666, "is a pipe")]
)
def test_a_zip_member_that_is_no_file_is_refused(tmp_path: Path, mode: int, words: str) -> None:
    with zipfile.ZipFile(tmp_path / "net.mar", "w") as archive:
        info = zipfile.ZipInfo("odd")
        info.external_attr = mode << 16
        archive.writestr(info, "/etc/passwd")
    assert_refused(tmp_path / "net.mar", "member 'odd'", words)


def test_a_link_that_leaves_a_folder_is_refused_and_one_inside_is_its_file(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "net", {"real.txt": b"text"})
    (source / "alias.txt").symlink_to("real.txt")
    unpack(source, tmp_path / "out")
    assert files_in(tmp_path / "out") == {"real.txt": b"text", "alias.txt": b"text"}
    assert not (tmp_path / "out" / "alias.txt").is_symlink()
    (source / "passwd").symlink_to("/etc/passwd")
    assert_refused(source, "member 'passwd'", "'/etc/passwd', which is not in the folder")


@pytest.mark.parametrize("target", ["nowhere", "sub"])
def test_a_link_to_no_file_in_a_folder_is_refused(tmp_path: Path, target: str) -> None:
    source = write_folder(tmp_path / "net", {"sub/a.txt": b"text"})
    (source / "link").symlink_to(target)
    assert_refused(source, "member 'link'", "is a link to no file")


def test_a_pipe_in_a_folder_is_refused(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "net", {"a.txt": b"text"})
    os.mkfifo(source / "pipe")
    assert_refused(source, "member 'pipe' is a pipe")


def test_a_folder_is_not_unpacked_into_itself(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "net", {"a.txt": b"text"})
    with pytest.raises(SourceError, match="can't be unpacked into itself"):
        unpack(source, source / "out")
    assert tree(source) == {"a.txt": 4}


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "net.mar", {"secret.bin": b"1"}, zipfile.ZIP_STORED)
    data = bytearray(source.read_bytes())
    data[6] |= 1  # the flags of the local header, and of the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(data)
    assert_refused(source, "member 'secret.bin' is encrypted")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_without_bounds_is_refused(tmp_path: Path, compression: int) -> None:
    source = write_zip(tmp_path / "net.mar", {"a.bin": bytes(100)}, compression)
    assert_refused(source, "member 'a.bin' is compressed in an unusual way")


def test_more_members_than_the_limit_are_refused(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "net.mar", {f"{index:05}": b"" for index in range(10_001)})
    assert_refused(source, "member '10000' comes after 10000 others")


def test_more_bytes_than_the_limit_are_refused(tmp_path: Path) -> None:
    for source in (write_zip(tmp_path / "net.zip", FILES), write_folder(tmp_path / "net", FILES)):
        limits = UnpackLimits(size_bytes=100_000)
        assert_refused(source, "unpacks to more than 100000 bytes", "'a/deep/file.bin'", limits=limits)


@pytest.mark.parametrize("write", [write_zip, write_tgz])
def test_a_bomb_is_refused(tmp_path: Path, write: Write) -> None:
    source = write(tmp_path / "net.mar", {"bomb": bytes(32 * MIB)})
    assert_refused(source, "'bomb'" if write is write_zip else "the archive", "more than 100 times its size, as a bomb")


def test_many_small_bombs_are_refused_together(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "net.mar", {f"bomb-{index}": bytes(MIB) for index in range(40)})
    assert_refused(source, "the archive inflates to more than 100 times its size")


def test_zeros_up_to_a_mebibyte_are_no_bomb(tmp_path: Path) -> None:
    for write in (write_zip, write_tgz):
        unpack(write(tmp_path / "net.mar", {"zeros": bytes(MIB)}), tmp_path / write.__name__)
        assert (tmp_path / write.__name__ / "zeros").stat().st_size == MIB


@pytest.mark.parametrize("claimed", [10, 31 * MIB])
def test_a_bomb_whose_header_lies_is_refused(tmp_path: Path, claimed: int) -> None:
    """Both headers claim another size than the 32 MiB that come out."""
    source = write_zip(tmp_path / "net.mar", {"bomb": bytes(32 * MIB)})
    data = source.read_bytes().replace(struct.pack("<I", 32 * MIB), struct.pack("<I", claimed))
    source.write_bytes(data)
    assert_refused(source, "'bomb'" if claimed > MIB else "cut off or damaged")


def test_a_bomb_that_claims_to_be_packed_largely_is_refused(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "net.mar", {"bomb": bytes(32 * MIB)})
    packed_bytes = zipfile.ZipFile(source).getinfo("bomb").compress_size
    data = source.read_bytes().replace(struct.pack("<I", packed_bytes), struct.pack("<I", 1 << 30))
    source.write_bytes(data)
    assert_refused(source)


def test_a_tar_header_of_many_bytes_is_refused(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(2 * MIB).hex()
    with tarfile.open(tmp_path / "net.mar", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.txt")
        info.pax_headers = {"comment": noise}
        archive.addfile(info)
    assert_refused(tmp_path / "net.mar", "damaged: a header of more than 1 MiB")


@pytest.mark.parametrize("write", [write_zip, write_tgz])
def test_a_cut_archive_is_refused_wherever_it_is_cut(tmp_path: Path, write: Write) -> None:
    noise = random.Random(1).randbytes(3000)
    whole = write(tmp_path / "whole", {"a.bin": noise, "b/c.bin": noise[:100]}).read_bytes()
    (tmp_path / "whole").unlink()
    for length in range(4, len(whole), 97):
        (tmp_path / "net.mar").write_bytes(whole[:length])
        assert_refused(tmp_path / "net.mar", "cut off or damaged")


@pytest.mark.parametrize("write", [write_zip, write_tgz])
def test_flipped_bytes_are_refused_or_harmless(tmp_path: Path, write: Write) -> None:
    draw = random.Random(2)
    whole = write(tmp_path / "whole", {"a.bin": draw.randbytes(2000), "b/c.bin": bytes(100)}).read_bytes()
    (tmp_path / "whole").unlink()
    for attempt in range(300):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        (tmp_path / "net.mar").write_bytes(damaged)
        target = tmp_path / f"out-{attempt}"
        try:
            unpack(tmp_path / "net.mar", target)
        except SourceError:
            assert not target.exists()
    assert all(path.name == "net.mar" or path.name.startswith("out-") for path in tmp_path.iterdir())


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.mar").write_bytes(b"hello")
    assert_refused(tmp_path / "net.mar", "is no archive: expected a zip, a tar.gz or a folder")
    (tmp_path / "net.mar").write_bytes(gzip.compress(b"hello" * 200))
    assert_refused(tmp_path / "net.mar", "cut off or damaged")
    (tmp_path / "net.mar").write_bytes(zlib.compress(b"hello"))
    assert_refused(tmp_path / "net.mar", "is no archive")


@contextmanager
def file_sizes_limited_to(size_bytes: int) -> Iterator[None]:
    """Writes beyond it fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failing_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "net.mar", {"small": b"1", "large": random.Random(3).randbytes(3 * MIB)})
    with file_sizes_limited_to(2 * MIB):
        assert_refused(source, "can't be unpacked: File too large")
