"""A small HTTP server on a free port that answers what a test says, as a gateway's management port would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.listening import Quiet, listening


class ManagementPort:
    """`answers` by path: a text, or what becomes JSON, or a pair of status and that; a list is answered one after the
    other, its last again and again. A path without any is not found."""

    def __init__(self, number: int) -> None:
        self.url = f"http://127.0.0.1:{number}"
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []

    def answer(self, target: str) -> tuple[int, bytes]:
        self.asked.append(target)
        answer = self.answers.get(urlsplit(target).path)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if answer is None:
            return 404, b'{"error": "Not Found"}'
        status, answer = answer if isinstance(answer, tuple) else (200, answer)
        return status, (answer if isinstance(answer, str) else json.dumps(answer)).encode()


@contextmanager
def management_port(number: int = 0) -> Iterator[ManagementPort]:
    """A port for the block; nobody listens there afterwards."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.do_GET()

        def do_GET(self) -> None:
            status, body = port.answer(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with listening(Handler, number) as number:
        port = ManagementPort(number)
        yield port
