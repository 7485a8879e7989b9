"""`onegate sign`, `onegate verify`, and `onegate convert --sign-with`."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from model_store.store import Store
from serve.cli import main
from tests.model_store.publishing import manifest, write_model
from tests.serve.control.test_preparation import export_linear


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two versions of `digits`."""
    store = Store.open(str(tmp_path / "store"))
    for key in ("key-1", "key-2"):
        store.publish(manifest(key=key), write_model(tmp_path / "made", key.encode()))
    return store


def onegate(tmp_path: Path, *words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words), "--store", str(tmp_path / "store")])


@pytest.mark.usefixtures("store")
def test_newest_version_is_signed_and_verified(tmp_path: Path) -> None:
    made = onegate(tmp_path, "sign", "--new-key", tmp_path / "key.pem")
    signed = onegate(tmp_path, "sign", "digits", "--private-key", tmp_path / "key.pem")
    verified = onegate(tmp_path, "verify", "digits", "--public-key", tmp_path / "key.pem.pub")

    assert [made.exit_code, signed.exit_code, verified.exit_code] == [0, 0, 0]
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    key = signed.stdout.split()[-1]
    assert signed.stdout == f"digits version 2: signed by key {key}\n"
    assert verified.stdout == f"digits version 2: signed by key {key}; files as signed: 2\n"
    refused = onegate(tmp_path, "verify", "digits", 1, "--public-key", tmp_path / "key.pem.pub")
    assert refused.exit_code == 1
    assert refused.stderr == (
        "onegate: no trusted key vouches for version 1 of 'digits': nobody has signed it; "
        "`onegate sign digits 1 --private-key FILE` does\n"
    )


@pytest.mark.usefixtures("store")
def test_key_is_made_and_used_in_one_call_with_json(tmp_path: Path) -> None:
    result = onegate(tmp_path, "sign", "digits", 1, "--new-key", tmp_path / "key.pem", "--json")

    told = json.loads(result.stdout)
    assert (told["name"], told["version"], len(told["key"])) == ("digits", 1, 32)
    assert told["public_key"] == str(tmp_path / "key.pem.pub")
    verified = onegate(tmp_path, "verify", "digits", 1, "--public-key", told["public_key"], "--json")
    assert json.loads(verified.stdout) == {"name": "digits", "version": 1, "key": told["key"], "files": 2}


def test_file_that_changed_since_it_was_signed_is_found(store: Store, tmp_path: Path) -> None:
    onegate(tmp_path, "sign", "digits", "--new-key", tmp_path / "key.pem")
    blob = Path(store.url) / "blobs/sha256" / store.manifest("digits", 2).files["model.onnx"].sha256
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.write(b"x")

    refused = onegate(tmp_path, "verify", "digits", "--public-key", tmp_path / "key.pem.pub")
    assert refused.exit_code == 1
    assert "file 'model.onnx' in store" in refused.stderr


def test_converted_version_is_signed_at_once(tmp_path: Path) -> None:
    onegate(tmp_path, "sign", "--new-key", tmp_path / "key.pem")
    source = export_linear(tmp_path / "linear.onnx", 2.0)

    assert onegate(tmp_path, "convert", source, "--sign-with", tmp_path / "key.pem").exit_code == 0
    assert onegate(tmp_path, "verify", "linear", "--public-key", tmp_path / "key.pem.pub").exit_code == 0


@pytest.mark.parametrize(
    "words", [[], ["digits"], ["--private-key", "key.pem"], ["digits", "--private-key", "a", "--new-key", "b"]]
)
def test_wrong_usage_is_told(tmp_path: Path, words: list[str]) -> None:
    result = onegate(tmp_path, "sign", *words)
    assert result.exit_code == 2
    assert "expected MODEL with --private-key FILE" in result.stderr


@pytest.mark.parametrize(
    "words", [["sign", "digits", "x"], ["verify", "digits", "x"], ["versions", "digits", "--version", "x"]]
)
def test_what_is_no_version_number_is_told_as_that(tmp_path: Path, words: list[str]) -> None:
    result = onegate(tmp_path, *words)
    assert result.exit_code == 2
    assert "'x' is not a valid version number." in result.stderr


def test_model_that_is_not_there_is_named(tmp_path: Path, store: Store) -> None:
    result = onegate(tmp_path, "sign", "digit", "--new-key", tmp_path / "key.pem")
    assert (result.exit_code, result.stderr) == (
        1,
        f"onegate: store '{store.url}' has no model 'digit'; models: digits\n",
    )
