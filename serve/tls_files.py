"""TLS certificates and keys in files: contexts of servers and clients made of them, and what is wrong with them.

When a server's files are read again is `front_doors/tls.py`'s matter.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from model_store.errors import ConfigError

if TYPE_CHECKING:
    from serve.config_sections.gateway import GatewayConfig
    from serve.config_sections.tls import TlsConfig

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

MOST_FLIGHTS = 10
"""A handshake takes three."""


class ServerFiles(msgspec.Struct, frozen=True):
    """With what a port proves itself, and the certificates that sign its clients'. `section` is where the config says
    so, for messages."""

    section: str
    certificate: str
    private_key: str
    client_ca: str | None = None


def server_files(section: str, config: TlsConfig | None) -> ServerFiles | None:
    """What the config's `section` says; None where it is not there."""
    if config is None:
        return None
    return ServerFiles(section, config.certificate, config.private_key, config.client_ca)


class ClientFiles(msgspec.Struct, frozen=True):
    """Whom a client trusts, by default whom the system trusts, and with what it proves itself."""

    ca: str | None = None
    certificate: str | None = None
    private_key: str | None = None
    pinned: bool = False
    """`ca` is the server's own certificate, so that its name is of no interest."""


NO_FILES = ClientFiles()


def server_context(files: ServerFiles, protocols: Sequence[str]) -> ssl.SSLContext:
    """A server's context that offers application `protocols` (ALPN). Raises `ConfigError` for files that can't be read,
    do not belong together, or that clients would refuse today."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(protocols))
    _load_own(context, files.section, files.certificate, files.private_key)
    try:
        shake_hands(context, client_context(ClientFiles(ca=files.certificate, pinned=True), files.section))
    except ssl.SSLError as error:
        _refuse(f"{files.section}.certificate", files.certificate, f"would be refused by clients{_reason(error)}")
    if files.client_ca is not None:
        _load_trusted(context, f"{files.section}.client_ca", files.client_ca)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(files: ClientFiles, section: str) -> ssl.SSLContext:
    """A client's context; `section` stands for it in messages. Raises `ConfigError` for files that can't be read or do
    not belong together."""
    context = ssl.create_default_context() if files.ca is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.ca is not None:
        if files.pinned:
            _load_pinned(context, f"{section}.certificate", files.ca)
        else:
            _load_trusted(context, "--ca", files.ca)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.check_hostname = not files.pinned
    if files.certificate is not None and files.private_key is not None:
        _load_own(context, section, files.certificate, files.private_key)
    return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """A handshake of the two in memory; raises the `ssl.SSLError` of the one that refuses the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(MOST_FLIGHTS):
        ends = [end for end in ends if not _is_done(end)]
    assert not ends, "a handshake ends"


def check_ports(gateway: GatewayConfig, own: ClientFiles) -> None:
    """Raises `ConfigError` when a port could not be opened with its files, or when `onegate up`, with its `own`, would
    not be let in by the management port."""
    section = "gateway.management_tls"
    endpoint, management = server_files("gateway.tls", gateway.tls), server_files(section, gateway.management_tls)
    if endpoint is not None:
        server_context(endpoint, ())
    if management is None:
        return
    try:
        shake_hands(server_context(management, ()), client_context(own, section))
    except ssl.SSLError as error:
        raise ConfigError(
            f"{section}.client_ca: `onegate up` asks this port as well, and {own.certificate!r} is refused"
            f"{_reason(error)}; give `up` a certificate of that CA, with --client-certificate and --client-key"
        ) from error


def _is_done(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _load_own(context: ssl.SSLContext, section: str, certificate: str, private_key: str) -> None:
    _load_trusted(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), f"{section}.certificate", certificate)
    key = f"{section}.private_key"
    _check_readable(key, private_key)
    try:
        context.load_cert_chain(certificate, private_key, _no_passphrase)
    except _Passphrase:
        _refuse(key, private_key, "wants a passphrase; write it without one, readable for the gateway alone")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            _refuse(key, private_key, f"is not the key of {certificate!r}")
        _refuse(key, private_key, f"holds no private key in PEM that can be used{_reason(error)}")


def _load_trusted(context: ssl.SSLContext, key: str, path: str) -> None:
    _check_readable(key, path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        _refuse(key, path, f"holds no certificate in PEM that can be used{_reason(error)}")


def _load_pinned(context: ssl.SSLContext, key: str, path: str) -> None:
    """Of the file only the server's own certificate, which is the first: those behind it have signed others too."""
    _check_readable(key, path)
    first = _CERTIFICATE.search(Path(path).read_bytes().decode("latin-1"))
    try:
        context.load_verify_locations(cadata=first[0] if first else "")
    except (ssl.SSLError, ValueError) as error:
        _refuse(key, path, f"holds no certificate in PEM that can be used{_reason(error)}")


def _check_readable(key: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        _refuse(key, path, f"can't be read: {error.strerror}")


class _Passphrase(Exception):
    """The key is encrypted."""


def _no_passphrase() -> NoReturn:
    # Without this, OpenSSL asks on the terminal.
    raise _Passphrase


def _reason(error: Exception) -> str:
    told = getattr(error, "verify_message", None) or (getattr(error, "reason", None) or "").lower().replace("_", " ")
    return f": {told}" if told else ""


def _refuse(key: str, path: str, text: str) -> NoReturn:
    raise ConfigError(f"{key}: {path!r} {text}") from None
