"""A real S3 server on this machine, and a way to it that a test can spoil: slow, silent, cut, full, away."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Literal

import pytest
from moto.server import ThreadedMotoServer

BUCKET = "onegate"
Trouble = Literal["none", "slow", "silent", "cut", "full", "away"]

_CHUNK_BYTES = 64 << 10
_CUT_AFTER_BYTES = 200_000
_SLOW_S = 0.02
_FULL = b"HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Way:
    """A TCP proxy in front of the server. `trouble` holds for what is sent from then on."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.trouble: Trouble = "none"
        self.downloads = 0
        """GETs of blobs that went through."""
        self.cuts = 0
        """Answers that were cut off; the first `most_cuts` that are long enough are."""
        self.most_cuts = 1_000_000
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def spoil(self, trouble: Trouble) -> None:
        """Makes trouble for all connections, those that are open too."""
        self.trouble = trouble
        if trouble in ("away", "none", "full"):
            for each in list(self._open):
                _end(each)

    def close(self) -> None:
        """Ends it."""
        _end(self._listener)
        self.spoil("away")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.trouble == "away":
            _end(client)
            return
        with contextlib.suppress(OSError):
            server = socket.create_connection(self._target)
            self._open |= {client, server}
            threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
            while data := client.recv(_CHUNK_BYTES):
                if self.trouble == "full" and data.startswith(b"PUT "):
                    client.sendall(_FULL)
                    break
                self.downloads += data.startswith(b"GET /") and b"/blobs/sha256/" in data.split(b"\r\n")[0]
                server.sendall(data)
            _end(client)
            _end(server)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := server.recv(_CHUNK_BYTES):
                if self.trouble == "slow":
                    time.sleep(_SLOW_S)
                if self.trouble == "silent":
                    continue
                passed += len(data)
                if self.trouble == "cut" and passed > _CUT_AFTER_BYTES and self.cuts < self.most_cuts:
                    self.cuts += 1
                    break
                client.sendall(data)
        if self.trouble != "silent":
            _end(client)
            _end(server)


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


def environment(port: int) -> dict[str, str]:
    """What a user sets to reach an S3 server of their own."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
    }


@contextlib.contextmanager
def s3_way() -> Iterator[Way]:
    """An empty server with a bucket, and the environment of this process set to reach it by the way."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # Its buckets outlive it in this process.
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
    way = Way((host, port))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(way.port).items():
            patch.setenv(name, value)
        from s3fs import S3FileSystem

        S3FileSystem.clear_instance_cache()
        S3FileSystem().mkdir(BUCKET)
        try:
            yield way
        finally:
            S3FileSystem.clear_instance_cache()
            way.close()
            server.stop()
