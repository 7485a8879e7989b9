"""The config's `gateway.tls` and `gateway.management_tls`: with what a port proves itself, and whom it lets in."""

from __future__ import annotations

from pydantic import Field

from serve.config_sections.rules import Filled
from serve.config_sections.section import Section


class TlsConfig(Section):
    """Files of a port that speaks TLS, in PEM. They are read anew when they change."""

    PATHS = ("certificate", "private_key", "client_ca")

    certificate: Filled = Field(description="File with the certificate, and those between it and its root behind it.")
    private_key: Filled = Field(description="File with the certificate's private key, without a passphrase.")
    client_ca: Filled | None = Field(
        default=None,
        description="File with certificates of which one must have signed a client's; without it clients need none.",
    )
