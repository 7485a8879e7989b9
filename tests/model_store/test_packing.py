"""Packing: the same bytes for the same files, and back again."""

import json
import os
import random
import zipfile
from pathlib import Path

import pytest

from model_store.archives import Archive, open_archive
from model_store.errors import ConfigError, SourceError
from model_store.packing import ManifestFields, PackFormat, pack
from tests.sources.archives_writing import Files, files_in, mms, write_folder

FILES: Files = {
    "net-symbol.json": "{}",
    "net-0000.params": random.Random(0).randbytes(1_200_000),
    "code/service.py": "",
    "A.txt": "first by its name",
}
FORMS: list[PackFormat] = ["zip", "tgz", "folder"]


@pytest.mark.parametrize("form", FORMS)
def test_an_unpacked_archive_packs_to_the_same_bytes(tmp_path: Path, form: PackFormat) -> None:
    folder = write_folder(tmp_path / "net", FILES)
    (folder / "empty").mkdir()
    fields = ManifestFields(model_version="2.0", handler="code/service:handle")
    names = pack(folder, tmp_path / "first.mar", fields, form=form)
    assert names == ["A.txt", "MAR-INF/MANIFEST.json", "code/service.py", "net-0000.params", "net-symbol.json"]
    archive = open_archive(tmp_path / "first.mar", tmp_path / "net-again" / "net")
    assert (archive.folder / "empty").is_dir()
    again = {name: data for name, data in files_in(archive.folder).items() if name != "MAR-INF/MANIFEST.json"}
    assert again == files_in(folder)
    os.utime(archive.folder / "A.txt", (1, 1))
    (archive.folder / "A.txt").chmod(0o600)
    pack(archive.folder, tmp_path / "second.mar", ManifestFields(), form=form)
    if form == "folder":
        assert files_in(tmp_path / "first.mar") == files_in(tmp_path / "second.mar")
    else:
        assert (tmp_path / "first.mar").read_bytes() == (tmp_path / "second.mar").read_bytes()


@pytest.mark.parametrize(
    ("server", "keys"),
    [("mms", {"specificationVersion", "implementationVersion", "modelServerVersion"}),
     ("torchserve", {"createdOn", "archiverVersion"})],
)  # fmt: skip
def test_a_new_manifest_is_of_the_server(tmp_path: Path, server: str, keys: set[str]) -> None:
    folder = write_folder(tmp_path / "net", {"net.pt": b"w"})
    fields = ManifestFields(handler="image_classifier", serialized_file="net.pt")
    pack(folder, tmp_path / "net.mar", fields, server)  # type: ignore[arg-type]
    with zipfile.ZipFile(tmp_path / "net.mar") as archive:
        assert archive.namelist() == ["MAR-INF/MANIFEST.json", "net.pt"]
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    assert set(manifest) == keys | {"runtime", "model"}
    assert manifest["model"] == {"modelName": "net", "handler": "image_classifier", "serializedFile": "net.pt"}


def test_fields_are_written_over_the_manifest_of_the_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "net", {**mms(description="kept"), **FILES})
    pack(folder, tmp_path / "net.mar", ManifestFields(model_version="7"))
    with zipfile.ZipFile(tmp_path / "net.mar") as archive:
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    assert manifest["engine"] == {"engineName": "MXNet", "engineVersion": "1.9.1"}
    assert manifest["model"] == {
        "modelName": "net",
        "modelVersion": "7",
        "handler": "mxnet_vision_service:handle",
        "description": "kept",
    }


def test_a_model_without_a_handler_packs_to_a_manifest_without_one(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "net", FILES)
    pack(folder, tmp_path / "net.mar", ManifestFields())
    with zipfile.ZipFile(tmp_path / "net.mar") as archive:
        assert json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"] == {"modelName": "net"}
    assert open_archive(tmp_path / "net.mar", tmp_path / "out").manifest.handler is None


def test_an_archive_that_its_check_refuses_is_not_left(tmp_path: Path) -> None:
    def refuse(archive: Archive) -> None:
        raise SourceError(f"no {archive.manifest.handler}")

    folder = write_folder(tmp_path / "net", FILES)
    with pytest.raises(SourceError, match=r"no h$"):
        pack(folder, tmp_path / "net.mar", ManifestFields(handler="h"), check=refuse)
    assert not (tmp_path / "net.mar").exists()


def test_a_manifest_that_would_lie_is_refused_and_leaves_the_old_archive(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "net", FILES)
    (tmp_path / "net.mar").write_bytes(b"old")
    fields = ManifestFields(handler="h", serialized_file="absent.pt")
    with pytest.raises(SourceError, match=r"source 'net.mar': .* names 'absent.pt' as serialized file"):
        pack(folder, tmp_path / "net.mar", fields, "torchserve")
    assert (tmp_path / "net.mar").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net", "net.mar"]


def test_links_that_leave_the_folder_are_not_packed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "net", FILES)
    (folder / "key").symlink_to("/etc/hostname")
    with pytest.raises(SourceError, match="member 'key' is a link to '/etc/hostname'"):
        pack(folder, tmp_path / "net.mar", ManifestFields(handler="h"))


def test_an_archive_is_not_packed_into_its_own_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "net", FILES)
    with pytest.raises(ConfigError, match="lies in the folder that is packed"):
        pack(folder, folder / "net.mar", ManifestFields(handler="h"))


def test_a_large_file_of_zeros_packs_and_opens(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "net", {"zeros.bin": bytes(8 << 20)})
    pack(folder, tmp_path / "net.mar", ManifestFields(handler="h"))
    open_archive(tmp_path / "net.mar", tmp_path / "out")
    assert (tmp_path / "out" / "zeros.bin").stat().st_size == 8 << 20
