"""What `onegate up` refuses before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from serve.cli import main

JWT = "access: {jwt: {jwks_file: keys.json, issuer: i, audience: a}}"
MANAGEMENT = "gateway: {management_host: 0.0.0.0}"
AUDIT = "access: {audit_log: absent/audit.jsonl}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (JWT, "access.jwt.jwks_file: '{folder}/keys.json' can't be read: No such file or directory"),
        (
            MANAGEMENT,
            "{folder}/c.yaml:2: gateway.management_host: management at 0.0.0.0, where others reach it, needs a key; "
            "take 'manage' out of access.anonymous, and make one with `onegate keys create`",
        ),
        (
            AUDIT,
            "access.audit_log: '{folder}/absent/audit.jsonl' can't be written: '{folder}/absent' is no folder; make it "
            "first",
        ),
    ],
)
def test_up_refuses_what_would_leave_management_open_tokens_unread_or_calls_unnoted(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"models: []\n{text}\n")
    result = CliRunner().invoke(main, ["up", str(file), "--store", str(tmp_path / "store")])

    assert (result.exit_code, result.stderr) == (1, f"onegate: {message.format(folder=tmp_path)}\n")
    assert not (tmp_path / "store").exists()
