import bz2
import gzip
import json
import lzma
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from converters.base import CONVERTERS, detect, load_converter
from model_store.errors import ConfigError, SourceError, TrustRequired


@pytest.mark.parametrize(
    ("name", "framework"),
    [
        ("digits.pt2", "pytorch"),
        ("digits.keras", "keras"),
        ("digits.skops", "sklearn"),
        ("digits-lightgbm.txt", "boosting"),
        ("digits-mlp.onnx", "onnx"),
    ],
)
def test_content_tells_the_framework_whatever_the_name(
    quickstart: Path, tmp_path: Path, name: str, framework: str
) -> None:
    misnamed = tmp_path / "model.bin"
    misnamed.write_bytes((quickstart / name).read_bytes())
    assert detect(misnamed).framework == framework


@pytest.mark.parametrize("name", ["xgb-classes.json", "xgb-binary.ubj", "lgb-height.txt"])
def test_boosted_trees_are_detected(exports: Callable[[str], Path], name: str) -> None:
    assert detect(exports("boosting") / name).framework == "boosting"


def test_a_folder_of_one_onnx_file_is_onnx(linear_onnx: Path) -> None:
    assert detect(linear_onnx.parent).framework == "onnx"


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'x.pt2' is of no known kind: it is empty; known are .*a PyTorch program"):
        detect(write(tmp_path / "x.pt2", b""))


def test_garbage_is_refused_with_its_first_bytes(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no known kind: it starts with b'\\x00\\x01garbage"):
        detect(write(tmp_path / "x.onnx", b"\0\1garbage"))


def test_json_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no known kind"):
        detect(write(tmp_path / "x.json", json.dumps({"models": []}).encode()))


@pytest.mark.parametrize("name", ["digits.pt2", "digits.keras", "digits.skops"])
def test_a_cut_off_archive_is_told(quickstart: Path, tmp_path: Path, name: str) -> None:
    data = (quickstart / name).read_bytes()
    with pytest.raises(SourceError, match="zip archive without a directory at its end: cut off"):
        detect(write(tmp_path / name, data[: len(data) // 2]))


def test_an_unknown_archive_is_refused_with_its_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.md", "hello")
    with pytest.raises(SourceError, match=r"a zip archive of readme\.md; known are"):
        detect(tmp_path / "x.zip")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match=r"a folder holding notes\.txt"):
        detect(tmp_path)


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'x.pt2' does not exist"):
        detect(tmp_path / "x.pt2")


class Marker:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_needs_trust_and_is_not_loaded(tmp_path: Path, protocol: int) -> None:
    source = write(tmp_path / "model.pkl", pickle.dumps(Marker(tmp_path / "ran"), protocol))
    with pytest.raises(TrustRequired, match=r"'model\.pkl' is a pickle: .* say `trust: true`"):
        detect(source)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_joblib_file_needs_trust(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(TrustRequired, match="trust: true"):
        detect(write(tmp_path / "m.joblib", compress(pickle.dumps({"a": 1}, 3))))


def test_a_pickled_module_needs_trust(exports: Callable[[str], Path]) -> None:
    with pytest.raises(TrustRequired, match=r"'module\.pth' is a pickle"):
        detect(exports("pytorch") / "module.pth")


def test_a_state_dict_needs_no_trust(exports: Callable[[str], Path]) -> None:
    assert detect(exports("pytorch") / "weights.pth").framework == "pytorch"


def test_a_trusted_pickle_that_is_no_module_is_a_model_of_scikit_learn(tmp_path: Path) -> None:
    source = write(tmp_path / "m.pkl", pickle.dumps([1]))
    assert detect(source, trust=True).framework == "sklearn"


def test_an_unknown_framework_names_the_nearest(linear_onnx: Path) -> None:
    with pytest.raises(ConfigError, match=r"'pytorh' is not one of .*; did you mean 'pytorch'\?"):
        detect(linear_onnx, "pytorh")


def test_a_framework_that_the_content_contradicts_is_refused(linear_onnx: Path) -> None:
    with pytest.raises(SourceError, match=r"expected a Keras model .*; its content is of framework 'onnx'"):
        detect(linear_onnx, "keras")


def test_every_converter_of_the_table_has_its_own_name() -> None:
    assert [load_converter(name).framework for name in CONVERTERS] == list(CONVERTERS)
