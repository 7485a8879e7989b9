"""Which server a path belongs to, and its reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model_store.errors import SourceError
from serve.importing import model_server, tensorflow_config, triton
from serve.importing.base import Imported


@dataclass(frozen=True)
class Server:
    """A server whose configuration can be read."""

    detects: Callable[[Path], bool]
    read: Callable[[Path], Imported]
    expected: str
    """What its path holds, in words."""


_MODEL_SERVER = "a config.properties or .mar archives"

SERVERS: dict[str, Server] = {
    "torchserve": Server(model_server.detects, partial(model_server.read, server="torchserve"), _MODEL_SERVER),
    "mms": Server(model_server.detects, partial(model_server.read, server="mms"), _MODEL_SERVER),
    "tensorflow-serving": Server(
        tensorflow_config.detects, tensorflow_config.read, "a models.config or <model>/<version>/saved_model.pb"
    ),
    "triton": Server(triton.detects, triton.read, "<model>/config.pbtxt or <model>/<version>/model.onnx"),
}
"""Name on the command line -> server."""

KINDS = "; ".join(dict.fromkeys(known.expected for known in SERVERS.values()))
"""What can be read, in words."""


def read_server(path: Path, server: str | None = None) -> Imported:
    """What `path` serves, of the `server` named or of the first that knows it.

    Raises `SourceError` where it is missing, of no server's, or can't be read.
    """
    if not path.exists():
        raise SourceError(f"{str(path)!r} does not exist", source=str(path))
    path = path.resolve()
    if server is not None:
        if not SERVERS[server].detects(path):
            raise SourceError(f"{str(path)!r}: expected {SERVERS[server].expected}, found neither")
        return SERVERS[server].read(path)
    read = reader_of(path)
    if read is None:
        raise SourceError(f"{str(path)!r} is of no known server; expected one of: {KINDS}")
    return read(path)


def reader_of(path: Path) -> Callable[[Path], Imported] | None:
    """What reads the configuration at `path`: of the first server that knows it, None where none does."""
    if model_server.detects(path):
        # Whose archives they are, is told from what is in them.
        return model_server.read
    return next((known.read for known in SERVERS.values() if known.detects(path)), None)
