import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from model_store import generations, remote
from model_store.errors import Conflict, IntegrityError, SourceError, StoreError
from model_store.sources import resolve_source
from model_store.store import Store
from tests.model_store import applying, publishing
from tests.model_store.publishing import MODEL_BYTES, manifest, write_model
from tests.model_store.s3 import BUCKET, Way, s3_way

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[Way]:
    with s3_way() as way:
        yield way


@pytest.fixture
def way(server: Way) -> Iterator[Way]:
    yield server
    server.spoil("none")
    server.most_cuts = 1_000_000


@pytest.fixture
def url(way: Way) -> str:
    return f"s3://{BUCKET}/{uuid4().hex}/store"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return write_model(tmp_path / "made")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    from s3fs import S3FileSystem

    patience = {"connect_timeout": 1, "read_timeout": 1, "retries": {"mode": "standard", "total_max_attempts": 2}}
    monkeypatch.setattr(remote, "_S3_PATIENCE", patience)
    S3FileSystem.clear_instance_cache()


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_store_on_s3_gives_back_what_was_published(url: str, files: dict[str, Path], tmp_path: Path) -> None:
    store = Store.open(url)
    assert store.models() == []
    first = store.publish(manifest(), files)
    second = store.publish(manifest(key="key-2"), files)
    folder = store.checkout(first, tmp_path / "out")

    assert (first.version, second.version) == (1, 2)
    assert store.models() == ["digits"]
    assert store.versions("digits") == [1, 2]
    assert store.find("digits", "key-2") == second
    assert store.publish(manifest(), files) == first
    assert store.read(first.files["model.onnx"]) == MODEL_BYTES
    assert (folder / "model.onnx").read_bytes() == MODEL_BYTES
    assert (folder / "external" / "weights.bin").read_bytes() == b"weights"
    assert store.filesystem.names("tmp") == []
    assert pickle.loads(pickle.dumps(store)).manifest("digits", 1) == first


def test_file_of_several_blocks_is_read_whole(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BLOCK_BYTES", 1 << 20)
    sizes = {"empty": 0, "one": 1, "block": 1 << 20, "more": (1 << 20) + 1, "three": 3 << 20}
    files = {}
    for name, size in sizes.items():
        files[name] = tmp_path / name
        files[name].write_bytes(os.urandom(size))
    published = Store(url).publish(manifest(), files)

    for name, path in files.items():
        assert Store(url).read(published.files[name]) == path.read_bytes()


def test_flipped_and_missing_bytes_on_s3_are_found(url: str, files: dict[str, Path], tmp_path: Path) -> None:
    from s3fs import S3FileSystem

    store = Store(url)
    published = store.publish(manifest(), files)
    blob = f"{url}/blobs/sha256/{published.files['model.onnx'].sha256}"
    S3FileSystem().pipe_file(blob, b"\1" + MODEL_BYTES[1:])

    with pytest.raises(IntegrityError, match=r"file 'model\.onnx' in store 's3://"):
        store.checkout(published, tmp_path / "out")
    S3FileSystem().rm_file(blob)
    with pytest.raises(IntegrityError, match="the blob is missing"):
        store.read(published.files["model.onnx"])
    store.publish(manifest(), files)
    assert store.read(published.files["model.onnx"]) == MODEL_BYTES


def test_publishers_at_once_on_s3_get_different_numbers_and_all_are_whole(url: str, tmp_path: Path) -> None:
    writers = [start(publishing.__file__, url, tmp_path / str(w), "digits", w * 4, 4, 0) for w in range(2)]
    printed = [writer.communicate(timeout=120)[0].split() for writer in writers]

    assert [writer.returncode for writer in writers] == [0, 0]
    assert sorted(int(number) for numbers in printed for number in numbers) == list(range(1, 9))
    store = Store(url)
    assert {store.manifest("digits", n).key for n in range(1, 9)} == {f"key-{n}" for n in range(8)}
    for number in range(1, 9):
        assert store.read(store.manifest("digits", number).files["model.onnx"]) == MODEL_BYTES + b"digits"


def test_publishers_of_one_key_at_once_on_s3_get_one_version(url: str, tmp_path: Path) -> None:
    writers = [start(publishing.__file__, url, tmp_path / str(w), "digits", 0, 1, 0) for w in range(2)]

    assert [writer.communicate(timeout=120)[0] for writer in writers] == ["1\n", "1\n"]
    assert Store(url).versions("digits") == [1]


def test_appliers_at_once_on_s3_never_write_one_number_twice(url: str) -> None:
    appliers = [start(applying.__file__, url, name, 5) for name in ("a", "b")]
    won = {name: applier.communicate(timeout=120)[0].split() for name, applier in zip("ab", appliers, strict=True)}

    assert [applier.returncode for applier in appliers] == [0, 0]
    assert sorted(int(number) for numbers in won.values() for number in numbers) == list(range(1, 11))
    store = Store(url)
    for name, numbers in won.items():
        assert {generations.read(store, int(number)).config["applier"] for number in numbers} == {name}
    with pytest.raises(Conflict, match="it has generation 10 already"):
        generations.append(store, 10, {"models": []})


def test_sources_on_s3_are_brought_here(url: str, files: dict[str, Path], tmp_path: Path) -> None:
    from s3fs import S3FileSystem

    S3FileSystem().pipe({f"{url}/exports/net.onnx": MODEL_BYTES, f"{url}/exports/saved/a/b.bin": b"b"})

    assert resolve_source(f"{url}/exports/net.onnx", tmp_path, tmp_path / "one").read_bytes() == MODEL_BYTES
    folder = resolve_source(f"{url}/exports/saved", tmp_path, tmp_path / "two")
    assert (folder / "a" / "b.bin").read_bytes() == b"b"
    with pytest.raises(SourceError, match=r"does not exist: looked for 'nat\.onnx' in .*; near it: net\.onnx"):
        resolve_source(f"{url}/exports/nat.onnx", tmp_path, tmp_path / "three")


def test_bucket_that_is_missing_is_not_created(way: Way) -> None:
    with pytest.raises(StoreError, match=r"^store 's3://mistyped/store' can't be written: .*bucket"):
        Store.open("s3://mistyped/store")
    assert Store("s3://mistyped/store").models() == []


@pytest.mark.usefixtures("impatient")
def test_silent_store_is_an_error_after_a_while_and_answers_again_later(
    way: Way, url: str, files: dict[str, Path], tmp_path: Path
) -> None:
    store = Store(url)
    published = store.publish(manifest(), files)
    way.spoil("silent")
    began = time.monotonic()

    with pytest.raises(StoreError, match=rf"^store '{url}' can't be read: .*[Tt]imeout"):
        store.checkout(published, tmp_path / "out")
    with pytest.raises(StoreError, match=f"^store '{url}' can't be read: "):
        generations.append(store, 1, {"models": []})
    # Each waits for two requests of a second; by itself, s3fs would go on for minutes.
    assert time.monotonic() - began < 30
    way.spoil("none")
    assert (store.checkout(published, tmp_path / "out") / "model.onnx").read_bytes() == MODEL_BYTES


def test_store_that_trickles_is_given_up_at_the_limit_of_a_call(
    way: Way, url: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some bytes every now and then keep a connection's own timeout from ever passing."""
    store = Store(url)
    published = store.publish(manifest(), files)
    monkeypatch.setattr(remote, "CALL_TIMEOUT_S", 1.0)
    monkeypatch.setattr("tests.model_store.s3._SLOW_S", 0.5)
    way.spoil("slow")

    with pytest.raises(StoreError, match=rf"^store '{url}' can't be read: no answer within 1 s; "):
        store.read(published.files["model.onnx"])


def test_slow_store_serves_all_the_same(way: Way, url: str, files: dict[str, Path], tmp_path: Path) -> None:
    way.spoil("slow")
    published = Store(url).publish(manifest(), files)

    assert (Store(url).checkout(published, tmp_path / "out") / "model.onnx").read_bytes() == MODEL_BYTES


@pytest.mark.usefixtures("impatient")
def test_store_that_is_away_is_an_error_and_comes_back(way: Way, url: str, files: dict[str, Path]) -> None:
    store = Store(url)
    published = store.publish(manifest(), files)
    way.spoil("away")

    for ask in (lambda: store.manifest("digits", 1), store.models, lambda: generations.newest(store)):
        with pytest.raises(StoreError, match=rf"^store '{url}' can't be read: [^\n]*$"):
            ask()
    with pytest.raises(StoreError, match=rf"^store '{url}' can't be (read|written): [^\n]*$"):
        store.publish(manifest(key="key-2"), files)
    way.spoil("none")
    assert store.manifest("digits", 1) == published
    assert store.publish(manifest(key="key-2"), files).version == 2


@pytest.mark.usefixtures("impatient")
def test_download_that_is_cut_off_leaves_no_file(way: Way, url: str, files: dict[str, Path], tmp_path: Path) -> None:
    store = Store(url)
    published = store.publish(manifest(), files)
    way.spoil("cut")

    with pytest.raises(StoreError, match=rf"^store '{url}' can't be read: "):
        store.checkout(published, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.name != "external"] == []
    way.spoil("none")
    assert (store.checkout(published, tmp_path / "out") / "model.onnx").read_bytes() == MODEL_BYTES


def test_answer_that_is_cut_off_once_is_asked_for_again(way: Way, url: str, files: dict[str, Path]) -> None:
    published = Store(url).publish(manifest(), files)
    way.cuts, way.most_cuts = 0, 1
    way.spoil("cut")

    assert Store(url).read(published.files["model.onnx"]) == MODEL_BYTES
    assert way.cuts == 1


@pytest.mark.usefixtures("impatient")
def test_full_store_says_so_and_keeps_nothing(way: Way, url: str, files: dict[str, Path]) -> None:
    store = Store(url)
    way.spoil("full")

    with pytest.raises(StoreError, match=rf"^store '{url}' can't be written: [^\n]*507[^\n]*$"):
        store.publish(manifest(), files)
    with pytest.raises(StoreError, match=rf"^store '{url}' can't be written: [^\n]*507[^\n]*$"):
        generations.append(store, 1, {"models": []})
    way.spoil("none")
    assert store.models() == []
    assert generations.newest(store) is None
    assert store.filesystem.names("blobs/sha256") == []
    assert store.publish(manifest(), files).version == 1
