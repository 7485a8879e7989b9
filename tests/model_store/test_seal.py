import json
from pathlib import Path

import msgspec
import pytest

from model_store import generations
from model_store.errors import IntegrityError
from model_store.manifest import FileEntry, decode_manifest, encode_manifest
from model_store.seal import is_sealed, seal
from model_store.store import Store
from tests.model_store.publishing import manifest


class Note(msgspec.Struct):
    format: int
    text: str


def flips(data: bytes) -> list[bytes]:
    """`data` with one bit changed, for every bit."""
    changed = []
    for position in range(len(data) * 8):
        copy = bytearray(data)
        copy[position // 8] ^= 1 << position % 8
        changed.append(bytes(copy))
    return changed


def test_sealed_document_is_json_with_its_digest_in_front() -> None:
    assert seal(Note(2, "é")).decode() == (
        "{\n"
        '  "sha256": "119b79229b651dbe0c7c37d51e824da4433106a7c45e6071bd73c784aefd7b66",\n'
        '  "format": 2,\n'
        '  "text": "é"\n'
        "}"
    )
    assert json.loads(seal(Note(2, "é")))["text"] == "é"
    assert is_sealed(seal(Note(2, "é")))
    assert not is_sealed(b'{"format": 1, "text": ""}')


def test_every_flipped_bit_of_a_manifest_is_found() -> None:
    data = encode_manifest(msgspec.structs.replace(manifest(), version=3, files={"model.onnx": FileEntry("a" * 64, 5)}))

    for changed in flips(data):
        with pytest.raises(ValueError, match=r".+"):
            decode_manifest(changed)


def test_every_flipped_bit_of_a_generation_is_found(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    generations.append(store, 1, {"models": [{"name": "digits", "traffic": 90}]})
    path = Path(store.url) / "generations" / "1.json"
    changes = flips(path.read_bytes())
    path.chmod(0o644)

    for changed in changes:
        path.write_bytes(changed)
        with pytest.raises(IntegrityError, match=r"^generation 1 in store '.*' is damaged: "):
            generations.newest(store)


def test_documents_of_an_earlier_release_are_read_without_a_seal(tmp_path: Path) -> None:
    old = msgspec.structs.replace(manifest(), format=1)
    store = Store.open(str(tmp_path / "store"))
    (Path(store.url) / "generations").mkdir()
    (Path(store.url) / "generations" / "1.json").write_bytes(b'{"number": 1, "created": "", "config": {"models": []}}')

    assert decode_manifest(msgspec.json.encode(old)) == old
    assert generations.read(store, 1).config == {"models": []}


def test_seal_that_was_taken_off_is_missed() -> None:
    unsealed = msgspec.json.encode(manifest())

    with pytest.raises(ValueError, match=r"^manifest format 2 without a digest of its own$"):
        decode_manifest(unsealed)
