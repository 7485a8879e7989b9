"""Certificates and keys, made for a test."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from serve.tls_files import ServerFiles

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate, its key, and where both are written."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    path: Path
    key_path: Path

    def server_files(self, client_ca: Issued | None = None) -> ServerFiles:
        return ServerFiles(
            "gateway.tls", str(self.path), str(self.key_path), None if client_ca is None else str(client_ca.path)
        )


def authority(folder: Path, name: str = "ca") -> Issued:
    """A root that signs others."""
    return _issue(folder, name, None, is_ca=True)


def issued(
    folder: Path,
    name: str,
    ca: Issued,
    *,
    days: int = 30,
    begins_in_days: int = -40,
    client: bool = False,
    passphrase: str = "",
    is_ca: bool = False,
) -> Issued:
    """A certificate of `ca` for localhost, or for a client; one of -1 days has expired yesterday."""
    return _issue(
        folder, name, ca, days=days, begins_in_days=begins_in_days, client=client, passphrase=passphrase, is_ca=is_ca
    )


def trusting(ca: Issued, own: Issued | None = None, *, named: bool = True) -> ssl.SSLContext:
    """A client's context, of Python's own; `named` where it is to compare names."""
    context = ssl.create_default_context(cafile=str(ca.path))
    context.check_hostname = named
    if own is not None:
        context.load_cert_chain(own.path, own.key_path)
    return context


def _issue(
    folder: Path,
    name: str,
    ca: Issued | None,
    *,
    is_ca: bool = False,
    days: int = 30,
    begins_in_days: int = -40,
    client: bool = False,
    passphrase: str = "",
) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if ca is None else ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins_in_days * DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if ca is not None and not is_ca:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = (
            builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()),
                critical=False,
            )
        )
    certificate = builder.sign(key if ca is None else ca.key, SHA256())
    path, key_path = folder / f"{name}.pem", folder / f"{name}-key.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    locked = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    return Issued(certificate, key, path, key_path)
