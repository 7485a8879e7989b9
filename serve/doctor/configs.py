"""What a config names: sources that are there, certificates that last, files that others may not read."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from model_store.errors import ConfigError, OnegateError
from model_store.filesystems import local_path
from model_store.sources import resolve_source
from serve.access.guard import check_access
from serve.config import Config
from serve.config_sections.tls import TlsConfig
from serve.doctor.finding import Finding, ok, problem, warning
from serve.doctor.stores import ENDING
from serve.store_policy import store_policy
from serve.tls_files import server_context, server_files


def check_sources(config: Config) -> Iterator[Finding]:
    """Every local source of every model, as a conversion would find it. Those behind URLs are not downloaded."""
    found = 0
    for model in config.models:
        for source in (version.source for version in model.wanted_versions()):
            if source is None or local_path(source) is None:
                continue
            try:
                with tempfile.TemporaryDirectory(prefix="onegate-doctor-") as folder:
                    resolve_source(source, Path.cwd(), Path(folder))
            except OnegateError as error:
                yield problem("sources", f"model {model.name!r}: {error.message}", "export it again, or set `source`")
                break
            found += 1
    yield ok("sources", f"{len(config.models)} models; {found} local sources are there")


def check_access_section(config: Config) -> Iterator[Finding]:
    """The config's `access` as `onegate up` would take it, and keys that are trusted to sign."""
    check_access(config.access)
    store_policy(config)
    trusted = len(config.signing.public_keys)
    yield ok("access", f"anonymous: {', '.join(config.access.anonymous) or 'nothing'}; keys that sign: {trusted}")


def check_certificates(config: Config, now: datetime | None = None) -> Iterator[Finding]:
    """Of both ports: are they usable together with their keys, until when, and who may read the keys."""
    for section, tls in (
        ("gateway.tls", config.gateway.tls),
        ("gateway.management_tls", config.gateway.management_tls),
    ):
        if tls is not None:
            yield from _check_tls(section, tls, now or datetime.now(UTC))


def _check_tls(section: str, tls: TlsConfig, now: datetime) -> Iterator[Finding]:
    from cryptography import x509

    try:
        chain = x509.load_pem_x509_certificates(Path(tls.certificate).read_bytes())
    except (OSError, ValueError):
        chain = []
    end = min((certificate.not_valid_after_utc for certificate in chain), default=None)
    if end is not None and end <= now:
        yield problem("certificates", f"{section}: {tls.certificate!r} ended at {end:%Y-%m-%d %H:%M} UTC", "renew it")
        return
    files = server_files(section, tls)
    assert files is not None
    try:
        server_context(files, ())
    except ConfigError as error:
        yield problem("certificates", error.message, "put right what the message says, and check again")
        return
    assert end is not None, "a context was made of it"
    text = f"{section}: valid until {end:%Y-%m-%d %H:%M} UTC"
    if end <= now + ENDING:
        yield warning("certificates", text, "renew it: a running gateway reads the new files by itself")
    else:
        yield ok("certificates", text)
    if Path(tls.private_key).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield warning("certificates", f"{tls.private_key!r} is for others, too", f"chmod 600 {tls.private_key}")
