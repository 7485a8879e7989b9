import base64
import json
import os
import stat
import subprocess
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from model_store.errors import ConfigError, IntegrityError, ModelNotFound, NotSigned
from model_store.manifest import Manifest, encode_manifest
from model_store.signing import sign, verify
from model_store.signing_keys import key_id, public_key_of, read_key_file, read_private_key, write_new_pair
from model_store.store import Store
from tests.model_store.publishing import manifest, write_model

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
ID = "56475aa75463474c0285df5dbf2bcab7"


@pytest.fixture
def version(store: Store, tmp_path: Path) -> Manifest:
    return store.publish(manifest(), write_model(tmp_path / "made"))


def record(store: Store, key: str = ID) -> Path:
    return Path(store.url) / "models" / "digits" / "1" / "signatures" / f"{key}.json"


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def test_signed_version_is_verified_by_its_key_among_others(store: Store, version: Manifest) -> None:
    assert sign(store, "digits", 1, KEY) == ID
    assert verify(store, version, [OTHER.public_key(), PUBLIC]) == ID
    assert json.loads(record(store).read_bytes())["algorithm"] == "ed25519"
    assert store.versions("digits") == [1]


def test_signature_is_of_the_manifest_file_itself(store: Store, version: Manifest) -> None:
    sign(store, "digits", 1, KEY)
    signature = base64.b64decode(json.loads(record(store).read_bytes())["signature"])

    PUBLIC.verify(signature, (Path(store.url) / "models/digits/1/manifest.json").read_bytes())


def test_signing_again_keeps_the_record_and_mends_a_damaged_one(store: Store, version: Manifest) -> None:
    sign(store, "digits", 1, KEY)
    content, inode = record(store).read_bytes(), record(store).stat().st_ino
    sign(store, "digits", 1, KEY)
    assert record(store).stat().st_ino == inode

    overwrite(record(store), content[:-40])
    with pytest.raises(NotSigned, match="the record is damaged"):
        verify(store, version, [PUBLIC])
    sign(store, "digits", 1, KEY)
    assert record(store).read_bytes() == content


def test_unsigned_version_is_refused_and_told_how_to_sign_it(store: Store, version: Manifest) -> None:
    with pytest.raises(NotSigned) as caught:
        verify(store, version, [PUBLIC])
    assert caught.value.message == (
        "no trusted key vouches for version 1 of 'digits': nobody has signed it; "
        "`onegate sign digits 1 --private-key FILE` does"
    )
    assert caught.value.details == {"model": "digits", "version": 1}


def test_version_signed_by_an_unknown_key_is_refused_and_names_both(store: Store, version: Manifest) -> None:
    sign(store, "digits", 1, OTHER)

    with pytest.raises(NotSigned, match=rf"it is signed by {key_id(OTHER.public_key())}, and trusted are only {ID}$"):
        verify(store, version, [PUBLIC])


def test_record_under_the_name_of_a_trusted_key_by_another_is_refused(store: Store, version: Manifest) -> None:
    sign(store, "digits", 1, OTHER)
    forged = record(store, key_id(OTHER.public_key())).read_bytes()
    record(store).write_bytes(forged)

    with pytest.raises(
        NotSigned, match=f"what key {ID} signed does not hold: the record is damaged: it says ed25519 by"
    ):
        verify(store, version, [PUBLIC])


def test_altered_manifest_is_refused(store: Store, version: Manifest) -> None:
    sign(store, "digits", 1, KEY)
    altered = msgspec.structs.replace(version, trusted=True)
    overwrite(Path(store.url) / "models/digits/1/manifest.json", encode_manifest(altered))

    with pytest.raises(NotSigned, match="does not hold: the manifest was altered: expected sha256"):
        verify(store, altered, [PUBLIC])
    with pytest.raises(NotSigned, match="is not the one that it was prepared with; apply again"):
        verify(store, version, [PUBLIC])


def test_record_of_another_version_does_not_hold(store: Store, version: Manifest, tmp_path: Path) -> None:
    second = store.publish(manifest(key="key-2"), write_model(tmp_path / "made"))
    sign(store, "digits", 1, KEY)
    copied = Path(store.url) / "models/digits/2/signatures"
    copied.mkdir()
    (copied / f"{ID}.json").write_bytes(record(store).read_bytes())

    with pytest.raises(NotSigned, match="the manifest was altered"):
        verify(store, second, [PUBLIC])


def test_every_flipped_bit_of_manifest_and_record_is_refused(store: Store, version: Manifest) -> None:
    sign(store, "digits", 1, KEY)
    for path in (record(store), Path(store.url) / "models/digits/1/manifest.json"):
        content = path.read_bytes()
        for bit in range(len(content) * 8):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            overwrite(path, changed)
            with pytest.raises((NotSigned, IntegrityError)):
                verify(store, version, [PUBLIC])
        overwrite(path, content)
    assert verify(store, version, [PUBLIC]) == ID


def test_version_that_is_not_there_can_not_be_signed(store: Store) -> None:
    with pytest.raises(ModelNotFound):
        sign(store, "digits", 1, KEY)


def test_new_pair_is_read_back_and_the_private_key_is_for_its_owner(tmp_path: Path) -> None:
    private, public = write_new_pair(tmp_path / "release.pem")

    assert (private, public) == (tmp_path / "release.pem", tmp_path / "release.pem.pub")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    key = read_private_key(private)
    assert key_id(public_key_of(read_key_file(public), "it")) == key_id(key.public_key())
    with pytest.raises(ConfigError, match="exists; name another"):
        write_new_pair(tmp_path / "release.pem")


def test_key_made_by_openssl_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "openssl.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)

    assert len(key_id(read_private_key(path).public_key())) == 32


@pytest.mark.parametrize(
    "content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_file_that_is_no_key_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"key\.pem': expected an Ed25519 private key in PEM"):
        read_private_key(path)
    with pytest.raises(ConfigError, match="'here': expected an Ed25519 public key in PEM"):
        public_key_of(content, "here")
    with pytest.raises(ConfigError, match=r"absent' can't be read: No such file"):
        read_private_key(tmp_path / "absent")


@pytest.mark.parametrize("kind", ["ec -pkeyopt ec_paramgen_curve:P-256", "x25519"])
def test_key_of_another_kind_is_refused(tmp_path: Path, kind: str) -> None:
    algorithm, *options = kind.split()
    path = tmp_path / "other.pem"
    command = ["openssl", "genpkey", "-algorithm", algorithm, *options, "-out", os.fspath(path)]
    subprocess.run(command, check=True, capture_output=True)

    with pytest.raises(ConfigError, match="expected an Ed25519 private key"):
        read_private_key(path)
