import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from model_store.errors import ConfigError, IntegrityError, ModelNotFound, StoreError
from model_store.manifest import FileEntry, Manifest, encode_manifest
from model_store.store import Store
from tests.model_store import publishing
from tests.model_store.publishing import MODEL_BYTES, manifest, write_model

MODEL_SHA256 = "4b946083e4726eb822210f4318d02261e43fd44f2f4f90149926986a9cdaa46f"
WEIGHTS_SHA256 = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return write_model(tmp_path / "made")


def blob(store: Store, version: Manifest, name: str) -> Path:
    return Path(store.url) / "blobs" / "sha256" / version.files[name].sha256


def damage(path: Path, position: int) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_published_version_reads_back_the_same(store: Store, files: dict[str, Path]) -> None:
    published = store.publish(manifest(), files)

    assert published.version == 1
    assert published.files == {
        "model.onnx": FileEntry(sha256=MODEL_SHA256, size=3_072_000),
        "external/weights.bin": FileEntry(sha256=WEIGHTS_SHA256, size=7),
    }
    assert store.models() == ["digits"]
    assert store.versions("digits") == [1]
    assert store.manifest("digits", 1) == published
    assert store.read(published.files["model.onnx"]) == MODEL_BYTES
    assert store.read(published.files["external/weights.bin"]) == b"weights"
    assert os.listdir(Path(store.url) / "tmp") == []


def test_new_store_is_empty(store: Store) -> None:
    assert store.models() == []
    assert store.versions("digits") == []
    assert store.find("digits", "key-1") is None


def test_same_key_gives_the_same_version(store: Store, files: dict[str, Path]) -> None:
    first = store.publish(manifest(), files)
    second = store.publish(msgspec.structs.replace(manifest(), notes="again"), files)

    assert second == first
    assert store.find("digits", "key-1") == first
    assert store.versions("digits") == [1]


def test_other_key_gives_the_next_version_and_shares_equal_blobs(
    store: Store, files: dict[str, Path], tmp_path: Path
) -> None:
    store.publish(manifest(), files)
    files["model.onnx"].write_bytes(b"changed")
    second = store.publish(manifest(key="key-2"), files)

    assert second.version == 2
    assert store.versions("digits") == [1, 2]
    assert len(os.listdir(Path(store.url) / "blobs" / "sha256")) == 3
    assert store.read(store.manifest("digits", 1).files["model.onnx"]) == MODEL_BYTES
    assert store.read(second.files["model.onnx"]) == b"changed"


def test_versions_sort_by_number_not_by_text(store: Store, files: dict[str, Path]) -> None:
    for key in range(11):
        store.publish(manifest(key=f"key-{key}"), files)

    assert store.versions("digits") == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    with pytest.raises(ModelNotFound, match=r"it has \.\.\., 2, 3, 4, 5, 6, 7, 8, 9, 10, 11$"):
        store.manifest("digits", 12)


def test_unknown_version_is_not_found_and_names_those_that_exist(store: Store, files: dict[str, Path]) -> None:
    store.publish(manifest(), files)
    store.publish(manifest(key="key-2"), files)

    with pytest.raises(ModelNotFound, match=r"no version 9 of 'digits' in store '.*'; it has 1, 2$") as caught:
        store.manifest("digits", 9)
    assert caught.value.details == {"model": "digits", "version": 9, "versions": [1, 2]}


def test_unknown_model_is_not_found_and_near_names_are_offered(store: Store, files: dict[str, Path]) -> None:
    store.publish(manifest(), files)

    with pytest.raises(ModelNotFound, match="did you mean 'digits'"):
        store.manifest("digit", 1)


@pytest.mark.parametrize("name", ["../digits", "", "a/b", ".hidden", "digits\n", "x" * 201])
def test_impossible_model_name_is_not_found_and_not_published(store: Store, files: dict[str, Path], name: str) -> None:
    with pytest.raises(ModelNotFound):
        store.manifest(name, 1)
    with pytest.raises(ConfigError, match="model name"):
        store.publish(manifest(name), files)
    assert store.models() == []


def test_checkout_puts_files_under_their_own_names(store: Store, files: dict[str, Path], tmp_path: Path) -> None:
    published = store.publish(manifest(), files)
    folder = store.checkout(published, tmp_path / "deep" / "out")

    assert folder == tmp_path / "deep" / "out"
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
        "external/weights.bin",
        "model.onnx",
    ]
    assert (folder / "model.onnx").read_bytes() == MODEL_BYTES
    assert (folder / "model.onnx").samefile(blob(store, published, "model.onnx"))
    assert stat.S_IMODE((folder / "model.onnx").stat().st_mode) & 0o222 == 0


def test_checkout_again_keeps_right_files_and_replaces_wrong_ones(
    store: Store, files: dict[str, Path], tmp_path: Path
) -> None:
    published = store.publish(manifest(), files)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"left by another version")
    (folder / "external").mkdir()
    (folder / "external" / "weights.bin").symlink_to(files["external/weights.bin"])

    for _ in range(2):
        store.checkout(published, folder)
        assert (folder / "model.onnx").read_bytes() == MODEL_BYTES
        assert not (folder / "external" / "weights.bin").is_symlink()
        assert len(list(folder.rglob("*"))) == 3
    assert files["external/weights.bin"].read_bytes() == b"weights"


def test_checkout_to_another_file_system_copies(store: Store, files: dict[str, Path], tmp_path: Path) -> None:
    published = store.publish(manifest(), files)
    folder = Path("/dev/shm") / f"onegate-{os.getpid()}" if os.path.isdir("/dev/shm") else tmp_path / "out"
    try:
        store.checkout(published, folder)
        assert (folder / "model.onnx").read_bytes() == MODEL_BYTES
        assert not (folder / "model.onnx").samefile(blob(store, published, "model.onnx"))
    finally:
        for path in (folder / "model.onnx", folder / "external" / "weights.bin"):
            path.unlink(missing_ok=True)
        (folder / "external").rmdir()
        folder.rmdir()


def test_checkout_where_a_file_is_in_the_way_names_the_folder(
    store: Store, files: dict[str, Path], tmp_path: Path
) -> None:
    published = store.publish(manifest(), files)
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreError, match=r"digits v1 can't be checked out to '.*/file/out': Not a directory"):
        store.checkout(published, tmp_path / "file" / "out")


@pytest.mark.parametrize("position", [0, 1_048_576, 3_071_999])
def test_flipped_bit_is_found_on_read_and_checkout(
    store: Store, files: dict[str, Path], tmp_path: Path, position: int
) -> None:
    published = store.publish(manifest(), files)
    damage(blob(store, published, "model.onnx"), position)

    with pytest.raises(IntegrityError, match=f"expected sha256 {MODEL_SHA256}, got [0-9a-f]{{64}};") as caught:
        store.read(published.files["model.onnx"])
    assert caught.value.details["expected"] == MODEL_SHA256
    assert caught.value.details["actual"] != MODEL_SHA256
    with pytest.raises(IntegrityError, match=f"file 'model.onnx' in store .* expected sha256 {MODEL_SHA256}"):
        store.checkout(published, tmp_path / "out")
    assert not (tmp_path / "out" / "model.onnx").exists()


def test_every_flipped_bit_of_a_small_file_and_samples_of_a_large_one_are_found(
    store: Store, files: dict[str, Path]
) -> None:
    published = store.publish(manifest(), files)
    for name, bits in {"external/weights.bin": range(7 * 8), "model.onnx": range(0, 3_072_000 * 8, 999_983)}.items():
        path = blob(store, published, name)
        path.chmod(0o644)
        for bit in bits:
            with path.open("r+b") as file:
                file.seek(bit // 8)
                right = file.read(1)[0]
                file.seek(bit // 8)
                file.write(bytes([right ^ 1 << bit % 8]))
                file.flush()
                with pytest.raises(IntegrityError):
                    store.read(published.files[name])
                file.seek(bit // 8)
                file.write(bytes([right]))
    assert store.read(published.files["model.onnx"]) == MODEL_BYTES


@pytest.mark.parametrize("size_bytes", [0, 1000])
def test_truncated_blob_is_found(store: Store, files: dict[str, Path], tmp_path: Path, size_bytes: int) -> None:
    published = store.publish(manifest(), files)
    os.truncate(blob(store, published, "model.onnx"), size_bytes)

    with pytest.raises(IntegrityError, match="expected sha256"):
        store.read(published.files["model.onnx"])
    with pytest.raises(IntegrityError, match=r"file 'model\.onnx'"):
        store.checkout(published, tmp_path / "out")


def test_missing_blob_is_named(store: Store, files: dict[str, Path], tmp_path: Path) -> None:
    published = store.publish(manifest(), files)
    blob(store, published, "external/weights.bin").unlink()

    with pytest.raises(IntegrityError, match="the blob is missing"):
        store.read(published.files["external/weights.bin"])
    with pytest.raises(IntegrityError, match=r"file 'external/weights.bin' .* the blob is missing"):
        store.checkout(published, tmp_path / "out")


def test_publishing_again_mends_damaged_and_lost_blobs(store: Store, files: dict[str, Path]) -> None:
    published = store.publish(manifest(), files)
    damage(blob(store, published, "model.onnx"), 5)
    blob(store, published, "external/weights.bin").unlink()

    assert store.publish(manifest(), files) == published
    assert store.read(published.files["model.onnx"]) == MODEL_BYTES
    assert store.read(published.files["external/weights.bin"]) == b"weights"


def test_corrupt_blob_is_replaced_when_another_version_has_the_same_file(store: Store, files: dict[str, Path]) -> None:
    first = store.publish(manifest(), files)
    damage(blob(store, first, "model.onnx"), 5)
    second = store.publish(manifest(key="key-2"), files)

    assert store.read(second.files["model.onnx"]) == MODEL_BYTES


@pytest.mark.parametrize("name", ["../escape", "/etc/escape", "a/../../escape", "a//b", "./a", "", "..", "a\\b"])
def test_file_names_that_escape_are_refused(store: Store, files: dict[str, Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="expected a relative path"):
        store.publish(manifest(), {name: files["model.onnx"]})
    assert store.versions("digits") == []

    published = store.publish(manifest(), files)
    hostile = msgspec.structs.replace(published, files={name: published.files["model.onnx"]})
    with pytest.raises(IntegrityError, match="leads out of its folder"):
        store.checkout(hostile, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_digest_that_is_a_path_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    entry = FileEntry(sha256="../../../secret", size=6)
    hostile = msgspec.structs.replace(manifest(), files={"model.onnx": entry})

    with pytest.raises(IntegrityError, match="64 hex digits"):
        store.read(entry)
    with pytest.raises(IntegrityError, match="64 hex digits"):
        store.checkout(hostile, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a manifest"),
        (b'{"format": 1, "name"', "not a manifest"),
        (encode_manifest(msgspec.structs.replace(manifest(), version=1, format=3)), "manifest format 3"),
        (encode_manifest(msgspec.structs.replace(manifest(), version=7)), "it says digits v7"),
        (encode_manifest(msgspec.structs.replace(manifest("other"), version=1)), "it says other v1"),
    ],
)
def test_damaged_manifest_is_an_integrity_error_and_blocks_no_publishing(
    store: Store, files: dict[str, Path], content: bytes, reason: str
) -> None:
    folder = Path(store.url) / "models" / "digits" / "1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(content)

    with pytest.raises(IntegrityError, match=f"manifest of digits v1 in store '.*' is damaged: .*{reason}"):
        store.manifest("digits", 1)
    assert store.find("digits", "key-1") is None
    assert store.publish(manifest(), files).version == 2


def test_leftovers_of_a_killed_writer_are_not_seen_and_their_number_is_used(
    store: Store, files: dict[str, Path]
) -> None:
    models = Path(store.url) / "models"
    (models / "digits" / "1").mkdir(parents=True)
    (models / "digits" / "notes").mkdir()
    (models / "digits" / "01").mkdir()
    (models / "empty").mkdir()
    (models / ".DS_Store").write_bytes(b"")

    assert store.models() == []
    assert store.versions("digits") == []
    assert store.publish(manifest(), files).version == 1
    assert store.models() == ["digits"]


def start_writer(store: Store, files: Path, first_key: int, publishes: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            publishing.__file__,
            store.url,
            str(files),
            "digits",
            str(first_key),
            str(publishes),
            "0",
        ],
        env={**os.environ, "PYTHONPATH": str(Path(publishing.__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_writers_at_once_get_different_numbers_and_all_are_whole(store: Store, tmp_path: Path) -> None:
    writers = [start_writer(store, tmp_path / str(writer), writer * 5, 5) for writer in range(4)]
    printed = [writer.communicate(timeout=120)[0].split() for writer in writers]

    assert [writer.returncode for writer in writers] == [0, 0, 0, 0]
    assert sorted(int(number) for numbers in printed for number in numbers) == list(range(1, 21))
    assert store.versions("digits") == list(range(1, 21))
    assert {store.manifest("digits", n).key for n in range(1, 21)} == {f"key-{n}" for n in range(20)}
    for number in range(1, 21):
        assert store.read(store.manifest("digits", number).files["model.onnx"]) == MODEL_BYTES + b"digits"


def test_writers_of_the_same_key_at_once_get_one_version(store: Store, tmp_path: Path) -> None:
    writers = [start_writer(store, tmp_path / str(writer), first_key=0, publishes=1) for writer in range(3)]

    assert [writer.communicate(timeout=120)[0] for writer in writers] == ["1\n", "1\n", "1\n"]
    assert store.versions("digits") == [1]


def test_file_to_publish_that_is_missing_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"file 'model.onnx' to publish: '.*/gone' can't be read: No such file"):
        store.publish(manifest(), {"model.onnx": tmp_path / "gone"})
    assert store.models() == []


def test_store_survives_pickling_and_a_change_of_folder(
    tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store.open("store")
    published = store.publish(manifest(), files)
    monkeypatch.chdir("/")

    assert store.url == str(tmp_path / "store")
    assert pickle.loads(pickle.dumps(store)).manifest("digits", 1) == published


def test_file_url_means_the_local_folder(tmp_path: Path) -> None:
    assert Store.open(f"file://{tmp_path}/a%20store").url == str(tmp_path / "a store")
    assert (tmp_path / "a store").is_dir()
