"""What a config names: sources, access, certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from model_store.errors import ConfigError
from serve.config import Config
from serve.doctor.configs import check_access_section, check_certificates, check_sources
from tests.serve.certificates import authority, issued


def config(**keys: Any) -> Config:
    return Config.model_validate({"models": []} | keys)


def secured(folder: Path, days: int = 30) -> Config:
    files = issued(folder, "server", authority(folder), days=days).server_files()
    Path(files.private_key).chmod(0o600)
    return config(gateway={"tls": {"certificate": files.certificate, "private_key": files.private_key}})


def test_sources_that_are_missing_or_empty_are_problems(tmp_path: Path) -> None:
    (tmp_path / "good.onnx").write_bytes(b"onnx")
    (tmp_path / "empty.onnx").touch()
    models = [
        {"name": name, "source": str(tmp_path / f"{name}.onnx")} for name in ("good", "empty", "absent")
    ]  # fmt: skip
    empty, absent, rest = check_sources(config(models=models))
    assert (empty.level, empty.text.startswith("model 'empty': ")) == ("problem", True)
    assert (absent.level, absent.text.startswith("model 'absent': ")) == ("problem", True)
    assert (rest.level, rest.text) == ("ok", "3 models; 1 local sources are there")


def test_sources_behind_urls_are_left_alone() -> None:
    (found,) = check_sources(config(models=[{"name": "m", "source": "s3://bucket/m.onnx"}]))
    assert (found.level, found.text) == ("ok", "1 models; 0 local sources are there")


def test_keys_that_are_not_there_are_refused(tmp_path: Path) -> None:
    signing = {"required": True, "public_keys": [str(tmp_path / "absent.pub")]}
    with pytest.raises(ConfigError, match=r"absent\.pub"):
        list(check_access_section(config(signing=signing)))
    (found,) = check_access_section(config())
    assert found.text == "anonymous: infer, view, manage, metrics; keys that sign: 0"


def test_a_certificate_that_has_ended_is_a_problem(tmp_path: Path) -> None:
    (found,) = check_certificates(secured(tmp_path, days=-1))
    assert (found.level, "server.pem' ended at" in found.text, found.advice) == ("problem", True, "renew it")


def test_a_certificate_that_ends_soon_is_a_warning(tmp_path: Path) -> None:
    desired = secured(tmp_path)
    assert [found.level for found in check_certificates(desired)] == ["ok"]
    (found,) = check_certificates(desired, datetime.now(UTC) + timedelta(days=20))
    assert (found.level, found.text.startswith("gateway.tls: valid until ")) == ("warning", True)


def test_a_key_of_another_certificate_is_a_problem(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    one, other = issued(tmp_path, "one", ca), issued(tmp_path, "other", ca)
    tls = {"certificate": str(one.path), "private_key": str(other.key_path)}
    (found,) = check_certificates(config(gateway={"tls": tls}))
    assert (found.level, "is not the key of" in found.text) == ("problem", True)


def test_a_file_that_is_no_certificate_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no certificate")
    tls = {"certificate": str(tmp_path / "file"), "private_key": str(tmp_path / "file")}
    (found,) = check_certificates(config(gateway={"tls": tls}))
    assert (found.level, "holds no certificate" in found.text) == ("problem", True)


def test_a_key_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    desired = secured(tmp_path)
    tls = desired.gateway.tls
    assert tls is not None
    Path(tls.private_key).chmod(0o644)
    _, found = check_certificates(desired)
    assert (found.level, found.advice) == ("warning", f"chmod 600 {tls.private_key}")
