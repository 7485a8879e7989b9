"""What a client of the management port makes of its errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from click.testing import CliRunner

from model_store.errors import Conflict, InternalError
from serve.cli import main
from serve.management_client import error_from
from tests.listening import Quiet, listening

NEEDS_A_KEY = "the call needs a key with the scope view"


@pytest.fixture
def guarded() -> Iterator[str]:
    """The address of a management port that lets nobody in."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"error": NEEDS_A_KEY, "kind": "Unauthenticated"}).encode()
            self.send_response(401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with listening(Handler) as port:
        yield f"http://127.0.0.1:{port}"


def test_a_told_error_is_raised_again_as_its_kind() -> None:
    error = error_from({"error": "generation 5 exists already", "kind": "Conflict"})
    assert (type(error), error.message) == (Conflict, "generation 5 exists already")


@pytest.mark.parametrize(
    ("answer", "text"), [({"error": "Not Found"}, "Not Found"), ({"kind": "Nonsense"}, "unknown error")]
)
def test_an_error_of_no_known_kind_is_internal(answer: dict[str, Any], text: str) -> None:
    error = error_from(answer)
    assert (type(error), error.message) == (InternalError, text)


def test_a_command_without_a_key_is_told_how_to_give_one(guarded: str) -> None:
    result = CliRunner().invoke(main, ["status", "--management", guarded])
    assert (result.exit_code, result.stderr) == (
        1,
        f"onegate: {NEEDS_A_KEY}; give it by --key KEY or in ONEGATE_KEY\n",
    )


def test_a_command_with_a_key_is_told_what_the_port_says(guarded: str) -> None:
    result = CliRunner().invoke(main, ["status", "--management", guarded, "--key", "og_1_2"])
    assert (result.exit_code, result.stderr) == (1, f"onegate: {NEEDS_A_KEY}\n")
