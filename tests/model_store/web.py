"""A web server on this machine with one file, and places that send on to others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.listening import Quiet, listening

FILE = "/models/m.onnx"
SENDS_ON = "/models/old/m.onnx"


class WebServer:
    """`FILE` holds `content`; `SENDS_ON` sends on to `location`. `asked` are the paths that were asked for."""

    def __init__(self) -> None:
        self.content = b"model"
        self.location = FILE
        self.asked: list[str] = []
        self.url = ""


@contextmanager
def web_server() -> Iterator[WebServer]:
    """One that listens for the block, on a free port of 127.0.0.1."""
    server = WebServer()

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            found = self.path == FILE
            self.send_response(200 if found else 302 if self.path == SENDS_ON else 404)
            if self.path == SENDS_ON:
                self.send_header("Location", server.location)
            self.send_header("Content-Length", str(len(server.content) if found else 0))
            self.end_headers()
            if found and self.command == "GET":
                self.wfile.write(server.content)

        def do_HEAD(self) -> None:
            self.do_GET()

    with listening(Handler) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server
