"""Archives of both servers in every form, and what is said of one that is wrong."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from model_store.archive_files import ArchiveSignature
from model_store.archives import Archive, looks_like_archive, open_archive
from model_store.errors import SourceError
from model_store.manifest import TensorSpec
from tests.sources.archives_writing import (
    IMAGE_SIGNATURE,
    Files,
    mms,
    model_server_04,
    torchserve,
    write_folder,
    write_tgz,
    write_zip,
)

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
MMS_FILES: Files = {**mms(), "net-symbol.json": "{}", "net-0000.params": b"p", "signature.json": IMAGE_SIGNATURE}


def opened(tmp_path: Path, files: Files) -> Archive:
    return open_archive(write_zip(tmp_path / "net.mar", files), tmp_path / "out")


def assert_refused(tmp_path: Path, files: Files, *words: str) -> None:
    with pytest.raises(SourceError) as caught:
        opened(tmp_path, files)
    assert caught.value.message.startswith("source 'net.mar'"), caught.value.message
    for word in words:
        assert word in caught.value.message
    assert "\n" not in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["net.mar"]


FORMS: dict[str, Callable[[Path, Files], Path]] = {
    "zip": write_zip,
    "tgz": write_tgz,
    "tgz in a folder": lambda path, files: write_tgz(path, files, "net/"),
    "folder": write_folder,
    "zip in a folder": lambda path, files: write_zip(path, {f"net/{name}": data for name, data in files.items()}),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_of_mms_is_read_in_every_form(tmp_path: Path, form: str) -> None:
    source = FORMS[form](tmp_path / "net.bin", {**MMS_FILES, "synset.txt": "n01 cat\n\nn03 dog\n\n"})
    assert looks_like_archive(source)
    archive = open_archive(source, tmp_path / "out")
    manifest = archive.manifest
    assert (manifest.server, manifest.layout, manifest.name, manifest.version) == ("mms", "1.0", "net", "1.0")
    assert (manifest.handler, manifest.runtime) == ("mxnet_vision_service:handle", "python")
    assert archive.labels == ("n01 cat", "", "n03 dog")
    assert archive.signature == ArchiveSignature(
        inputs=(TensorSpec("data", "FP32", (-1, 3, 8, 8)),), input_type="image/jpeg", output_type="application/json"
    )
    assert archive.files() == [
        "MAR-INF/MANIFEST.json", "net-0000.params", "net-symbol.json", "signature.json", "synset.txt",
    ]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_of_torchserve_is_read_in_every_form(tmp_path: Path, form: str) -> None:
    named = {
        "serializedFile": "net.pt",
        "modelFile": "model.py",
        "requirementsFile": "requirements.txt",
        "configFile": "model-config.yaml",
    }
    files: Files = {
        **torchserve("image_classifier", **named),
        "net.pt": b"weights",
        "model.py": "",
        "requirements.txt": "numpy",
        "model-config.yaml": "batchSize: 4\nmaxBatchDelay: 20\nhandler:\n  threshold: 0.5\n",
        "index_to_name.json": {"0": ["n01", "cat"], "2": "dog"},
    }
    source = FORMS[form](tmp_path / "net.bin", files)
    assert looks_like_archive(source)
    archive = open_archive(source, tmp_path / "out")
    manifest = archive.manifest
    assert (manifest.server, manifest.name, manifest.handler) == ("torchserve", "net", "image_classifier")
    assert manifest.named_files() == {
        "serialized_file": "net.pt",
        "model_file": "model.py",
        "requirements_file": "requirements.txt",
        "config_file": "model-config.yaml",
    }
    assert archive.config == {"batchSize": 4, "maxBatchDelay": 20, "handler": {"threshold": 0.5}}
    assert archive.labels == ("cat", "1", "dog")


@pytest.mark.parametrize("prefix", ["", "net/", "a/b/"])
@pytest.mark.parametrize("name", ["MANIFEST.json", "manifest.json"])
def test_a_model_of_mms_04_is_read_wherever_its_manifest_lies(tmp_path: Path, prefix: str, name: str) -> None:
    files: Files = {**model_server_04(Signature="call.json"), "net-symbol.json": "{}", "net-0000.params": b"p"}
    files = {prefix + file.replace("MANIFEST.json", name): content for file, content in files.items()}
    files[prefix + "call.json"] = {"inputs": [{"data_name": "x", "shape": [1, 2]}], "input_type": "application/json"}
    source = write_zip(tmp_path / "net.model", files)
    assert looks_like_archive(source)
    archive = open_archive(source, tmp_path / "out")
    manifest = archive.manifest
    assert (manifest.server, manifest.layout, manifest.name, manifest.version) == ("mms", "0.4", "net", "snapshot")
    assert (manifest.handler, manifest.model_format) == ("mxnet_vision_service.py", "MXNet-Symbolic")
    assert (manifest.symbol_file, manifest.parameters_file) == ("net-symbol.json", "net-0000.params")
    assert archive.signature is not None
    assert archive.signature.inputs == (TensorSpec("x", "FP32", (1, 2)),)
    assert name in archive.files()


@pytest.mark.parametrize(
    ("content", "server"),
    [
        ({"specificationVersion": "1.0"}, "mms"),
        ({"engine": {"engineName": "MXNet"}}, "mms"),
        ({}, "mms"),
        ({"createdOn": "01/02/2023 04:05:06"}, "torchserve"),
        ({"archiverVersion": "0.1"}, "torchserve"),
        ({"specificationVersion": "1.0", "archiverVersion": "0.1"}, "torchserve"),
    ],
)
def test_keys_of_the_manifest_tell_the_server(tmp_path: Path, content: dict[str, object], server: str) -> None:
    manifest = {"runtime": "python", "model": {"modelName": "net", "handler": "h:handle"}, **content}
    assert opened(tmp_path, {"MAR-INF/MANIFEST.json": manifest}).manifest.server == server


def test_the_first_archivers_of_torchserve_wrote_the_keys_of_mms(tmp_path: Path) -> None:
    manifest = {"specificationVersion": "1.0", "model": {"modelName": "net", "serializedFile": "net.pt"}}
    assert opened(tmp_path, {"MAR-INF/MANIFEST.json": manifest, "net.pt": b"w"}).manifest.server == "torchserve"


def test_numbers_as_versions_and_empty_texts_are_taken(tmp_path: Path) -> None:
    manifest = opened(tmp_path, torchserve(modelVersion=2, modelFile="", serializedFile="")).manifest
    assert (manifest.version, manifest.model_file, manifest.serialized_file) == ("2", None, None)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"MAR-INF/MANIFEST.json": "{not json"}, ("'MAR-INF/MANIFEST.json' is not what it should be",)),
        ({"MAR-INF/MANIFEST.json": "[1]"}, ("Expected `object`, got `array`",)),
        ({"MAR-INF/MANIFEST.json": {"runtime": "python"}}, ("missing required field `model`",)),
        (mms(handler=["h"]), ("Expected `str | null`, got `array` - at `$.model.handler`",)),
        ({"MAR-INF/MANIFEST.json": b" " * ((1 << 20) + 1)}, ("expected at most 1024 KiB",)),
        ({"MANIFEST.json": {"Model": {"Symbol": 1}}}, ("'MANIFEST.json'", "`$.Model.Symbol`")),
        (torchserve(serializedFile="net.pt"), ("names 'net.pt' as serialized file, which is not in the archive",)),
        (torchserve(modelFile="../model.py"), ("names '../model.py' as model file, which leads out of the archive",)),
        (torchserve(requirementsFile="/etc/passwd"), ("'/etc/passwd' as requirements file, which leads out",)),
        (torchserve(configFile="a.yaml"), ("names 'a.yaml' as config file, which is not in the archive",)),
        (mms(extensions={"symbolFile": "s.json"}), ("names 's.json' as symbol file, which is not in the archive",)),
        (mms(extensions={"symbolFile": 1}), ("expected text at extensions.symbolFile, got int",)),
        (mms(handler="h\x1b[2J:x"), ("expected text of one line as handler, got 'h\\x1b[2J:x'",)),
        (model_server_04(), ("names 'net-symbol.json' as symbol file, which is not in the archive",)),
        ({"a.txt": b"a"}, ("holds no manifest: expected MAR-INF/MANIFEST.json",)),
        ({"a/MAR-INF/MANIFEST.json": {}, "b/MAR-INF/MANIFEST.json": {}}, ("holds 2 manifests",)),
    ],
)
def test_a_manifest_that_lies_or_is_none_is_refused(tmp_path: Path, files: Files, words: tuple[str, ...]) -> None:
    assert_refused(tmp_path, files, *words)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"signature.json": "{"}, ("'signature.json' is not what it should be",)),
        ({"signature.json": {"inputs": [{"data_shape": [1]}]}}, ("missing required field `data_name`",)),
        ({"signature.json": {"inputs": [{"data_name": "x", "shape": [-3]}]}}, ("'x' has the shape [-3]",)),
        ({"synset.txt": b"\xff\xfe"}, ("'synset.txt': expected text in UTF-8",)),
        ({"index_to_name.json": {"cat": "0"}}, ("expected the number of a class below 1000000 as key, got 'cat'",)),
        ({"index_to_name.json": {"9999999": "x"}}, ("got '9999999'",)),
        ({"index_to_name.json": {"0": []}}, ("expected a label, got an empty list",)),
        ({"index_to_name.json": {"0": 1}}, ("Expected `str | array`, got `int`",)),
        ({"net-0000.params": LFS_POINTER}, ("member 'net-0000.params' is a Git-LFS pointer", "git lfs pull")),
    ],
)
def test_a_describing_file_that_is_wrong_is_refused_by_name(
    tmp_path: Path, files: Files, words: tuple[str, ...]
) -> None:
    assert_refused(tmp_path, {**mms(), **files}, *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "'model-config.yaml' is no YAML that can be read"),
        ("- 1", "expected keys and values, got list"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor for the tag"),
        ("a: &a [1]\nb: [*a, *a]", "it holds an alias"),
        ("[" * 100_000, "is no YAML that can be read"),
        ("# " + random.Random(0).randbytes(600_000).hex(), "expected at most 1024 KiB"),
    ],
)
def test_a_config_that_is_wrong_or_a_bomb_is_refused(tmp_path: Path, text: str, words: str) -> None:
    files: Files = {**torchserve(configFile="model-config.yaml"), "model-config.yaml": text}
    assert_refused(tmp_path, files, words)


def test_an_empty_config_has_no_keys(tmp_path: Path) -> None:
    assert opened(tmp_path, {**torchserve(configFile="c.yaml"), "c.yaml": ""}).config == {}


@pytest.mark.parametrize(
    ("index", "labels"),
    [
        ({"0": "a", "1": "b"}, ("a", "b")),
        ({"1": ["n2", "b"], "0": ["n1", "a"]}, ("a", "b")),
        ({"object_type_names": ["a", "b"]}, ("a", "b")),
        ({}, ()),
    ],
)
def test_labels_of_torchserve_come_in_three_forms(
    tmp_path: Path, index: dict[str, object], labels: tuple[str, ...]
) -> None:
    assert opened(tmp_path, {**torchserve(), "index_to_name.json": index}).labels == labels


def test_other_files_are_no_archives(tmp_path: Path) -> None:
    plain = write_zip(tmp_path / "a.zip", {"readme.md": "hello", "manifest.json": json.dumps({"name": "an app"})})
    noise = write_tgz(tmp_path / "b.tgz", {"readme.md": "hello"})
    folder = write_folder(tmp_path / "c", {"manifest.json": json.dumps({"Model": {}}), "x.onnx": b"x"})
    (tmp_path / "d").write_bytes(b"\x1f\x8bgarbage")
    (tmp_path / "e").write_bytes(b"PK\x03\x04garbage")
    (tmp_path / "f").write_bytes(b"")
    assert [looks_like_archive(path) for path in (plain, noise, folder, *map(tmp_path.joinpath, "defg"))] == [False] * 7


def test_a_tar_is_recognised_though_its_manifest_comes_late(tmp_path: Path) -> None:
    source = write_tgz(tmp_path / "net.mar", {"0000.params": bytes(3 << 20), **MMS_FILES})
    assert looks_like_archive(source)
