"""`onegate archive`: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from serve.cli import main
from tests.sources.archives_writing import (
    IMAGE_SIGNATURE,
    VISION_SERVICE,
    means_onnx,
    mms,
    torchserve,
    write_folder,
    write_tgz,
    write_zip,
)


def archive(*words: object) -> Result:
    return CliRunner().invoke(main, ["archive", *map(str, words)])


def assert_refused(result: Result, *words: str) -> None:
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("onegate: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "net", {"net.onnx": means_onnx(), "signature.json": IMAGE_SIGNATURE})


def test_a_folder_is_packed_shown_and_unpacked(tmp_path: Path, folder: Path) -> None:
    mar, out = tmp_path / "net.mar", tmp_path / "out"
    packed = archive("pack", folder, "--output", mar, "--handler", "mxnet_vision_service:handle", "--version", "1.2")
    assert (packed.exit_code, packed.stdout) == (0, f"packed 3 files into {mar}\n")
    shown = archive("show", mar, "--json")
    assert json.loads(shown.stdout) == {
        "server": "mms",
        "layout": "1.0",
        "name": "net",
        "version": "1.2",
        "handler": "mxnet_vision_service:handle",
        "runtime": "python",
        "served_as": "ImageProcessor",
        "model": "net.onnx",
        "signature": {
            "inputs": [{"name": "data", "datatype": "FP32", "shape": [-1, 3, 8, 8]}],
            "outputs": [],
            "input_type": "image/jpeg",
            "output_type": "application/json",
        },
        "config": {},
        "labels": 0,
        "files": ["MAR-INF/MANIFEST.json", "net.onnx", "signature.json"],
    }
    unpacked = archive("unpack", mar, out)
    assert (unpacked.exit_code, unpacked.stdout) == (0, f"unpacked 3 files into {out}\n")
    assert (out / "net.onnx").read_bytes() == (folder / "net.onnx").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net", "net.mar", "out"]


@pytest.mark.parametrize("form", ["zip", "tgz", "folder"])
def test_a_model_moves_to_torchserve(tmp_path: Path, folder: Path, form: str) -> None:
    write_folder(folder, {**mms(), "handler.py": "def handle(data, context): ..."})
    mar = tmp_path / "net.mar"
    words = ("--server", "torchserve", "--handler", "handler.py", "--serialized-file", "net.onnx", "--name", "moved")
    assert archive("pack", folder, "--output", mar, "--format", form, *words).exit_code == 0
    shown = json.loads(archive("show", mar, "--json").stdout)
    assert (shown["server"], shown["name"], shown["serialized_file"]) == ("torchserve", "moved", "net.onnx")
    assert shown["served_as"] == "its own code in handler.py, which needs trust"


def test_people_see_a_table(tmp_path: Path) -> None:
    files = {**mms(), "mxnet_vision_service.py": VISION_SERVICE, **{f"file-{index:02}": b"" for index in range(25)}}
    result = archive("show", write_zip(tmp_path / "net.mar", files))
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["server", "mms"] in lines
    assert ["served_as", "ImageProcessor"] in lines
    assert lines[-1] == ["and", "7", "more"]


def test_what_would_be_refused_is_shown(tmp_path: Path) -> None:
    shown = json.loads(archive("show", write_zip(tmp_path / "net.mar", torchserve("object_detector")), "--json").stdout)
    assert "TorchServe's own handler 'object_detector'" in shown["served_as"]
    assert "holds no model that can be converted" in shown["model"]


def test_a_leading_folder_of_a_tar_is_left_out(tmp_path: Path) -> None:
    source = write_tgz(tmp_path / "net.mar", {**mms(), "a.txt": "a"}, "net/")
    assert archive("unpack", source, tmp_path / "new" / "out").exit_code == 0
    assert (tmp_path / "new" / "out" / "a.txt").read_text() == "a"


@pytest.mark.parametrize("verb", ["unpack", "pack"])
def test_what_is_there_is_replaced_only_by_force(tmp_path: Path, folder: Path, verb: str) -> None:
    mar, out = write_zip(tmp_path / "net.mar", {**mms(), "new.txt": "new"}), tmp_path / "out"
    words = (
        ("unpack", mar, out)
        if verb == "unpack"
        else ("pack", folder, "--output", out, "--handler", "mxnet_vision_service")
    )
    write_folder(out, {"mine.txt": "mine"})
    assert_refused(archive(*words), "exists; name another one, or say --force to replace it")
    assert (out / "mine.txt").read_text() == "mine"
    assert archive(*words, "--force").exit_code == 0
    assert not (out / "mine.txt").exists() if verb == "unpack" else out.is_file()


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        ("nofile.py", "names the handler 'nofile.py', and nofile.py is not in the archive"),
        ("my:handle", "names the handler 'my:handle', and my.py is not in the archive"),
        ("image_classifier", "image_classifier.py is not in the archive"),
        ("../my.py", "which leads out of the archive"),
    ],
)
def test_a_handler_that_is_not_there_is_not_packed(tmp_path: Path, folder: Path, handler: str, told: str) -> None:
    mar = tmp_path / "net.mar"
    assert_refused(archive("pack", folder, "--output", mar, "--handler", handler), told)
    assert not mar.exists()


def test_a_handler_that_only_torchserve_has_is_packed_for_it_and_told(tmp_path: Path, folder: Path) -> None:
    words = ("--server", "torchserve", "--handler", "base_handler", "--serialized-file", "net.onnx")
    packed = archive("pack", folder, "--output", tmp_path / "net.mar", *words)
    assert (packed.exit_code, packed.stdout) == (0, f"packed 3 files into {tmp_path / 'net.mar'}\n")
    assert "TorchServe's own handler 'base_handler', which only TorchServe has" in packed.stderr


def test_a_model_without_a_handler_takes_tensors(tmp_path: Path, folder: Path) -> None:
    mar = tmp_path / "net.mar"
    assert archive("pack", folder, "--output", mar).exit_code == 0
    shown = json.loads(archive("show", mar, "--json").stdout)
    assert ("handler" in shown, shown["served_as"], shown["model"]) == (False, "tensors", "net.onnx")


def test_a_hostile_archive_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "net.mar", {**mms(), "../evil.txt": "evil"})
    for words in (("unpack", source, tmp_path / "a" / "b"), ("show", source)):
        assert_refused(archive(*words), "member '../evil.txt'", "may lead out of the folder")
    assert [path.name for path in tmp_path.iterdir()] == ["net.mar"]


def test_force_keeps_what_is_there_when_the_archive_is_refused(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "net.mar", {**mms(), "../evil.txt": "evil"})
    out = write_folder(tmp_path / "out", {"mine.txt": "mine"})
    assert_refused(archive("unpack", source, out, "--force"), "member '../evil.txt'")
    assert (out / "mine.txt").read_text() == "mine"


def test_another_file_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    assert_refused(archive("show", tmp_path / "a.txt"), "'a.txt' is no archive of MXNet Model Server or TorchServe")
    assert_refused(archive("unpack", tmp_path / "a.txt", tmp_path / "out"), "'a.txt' is no archive")


def test_wrong_usage_ends_with_2(tmp_path: Path) -> None:
    assert archive("unpack", tmp_path / "absent.mar", tmp_path / "out").exit_code == 2
    assert archive("pack", tmp_path).exit_code == 2
    assert archive("pack", tmp_path, "--output", "x.mar", "--format", "rar").exit_code == 2


@pytest.mark.parametrize("verb", ["pack", "unpack", "show"])
def test_help_has_an_example(verb: str) -> None:
    assert f"onegate archive {verb} " in archive(verb, "--help").stdout.split("Example:")[1]
