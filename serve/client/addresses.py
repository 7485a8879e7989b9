"""Where an endpoint is, as its address says, and with what it is asked."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from model_store.errors import ConfigError
from serve.tls_files import NO_FILES, ClientFiles

_PORTS = {"http": 80, "https": 443, "grpc": 8081, "grpcs": 8081}


class Address(msgspec.Struct, frozen=True):
    """An endpoint; `prefix` stands before every path of HTTP. `key` is the credentials, and in no message."""

    url: str
    scheme: str
    host: str
    port: int
    prefix: str = ""
    key: str | None = None
    files: ClientFiles = NO_FILES

    @property
    def is_grpc(self) -> bool:
        """Whether its protocol is gRPC."""
        return self.scheme.startswith("grpc")

    @property
    def is_encrypted(self) -> bool:
        """Whether it speaks TLS."""
        return self.scheme.endswith("s")

    @property
    def netloc(self) -> str:
        """Host and port, as they stand in an address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(url: str, key: str | None, files: ClientFiles) -> Address:
    """The endpoint at `url`: `http`, `https`, `grpc` or, with TLS, `grpcs`. Raises `ConfigError` for another form, a
    key that is none, and half of a client's certificate."""
    wrong = ConfigError(f"expected an address as http://127.0.0.1:8080 or grpc://127.0.0.1:8081, got {url!r:.200}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.query or "@" in parts.netloc:
        raise wrong
    prefix = parts.path.rstrip("/")
    if prefix and parts.scheme.startswith("grpc"):
        raise ConfigError(f"an address of gRPC has no path, got {url!r:.200}")
    if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key and key):
        raise ConfigError("expected a key as `onegate keys create` prints it")
    if (files.certificate is None) != (files.private_key is None):
        raise ConfigError("a client's certificate and its private key go together")
    return Address(url.rstrip("/"), parts.scheme, parts.hostname, port or _PORTS[parts.scheme], prefix, key, files)
