"""The config's `access`: what callers without credentials may ask, whose tokens count, and where changes are noted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from serve.config_sections.rules import Filled, Scope
from serve.config_sections.section import Section

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip
"""Those with a public key: a file of keys is no place for a secret."""


class JwtConfig(Section):
    """Tokens of an identity provider."""

    PATHS = ("jwks_file",)

    jwks_file: Filled = Field(
        description="File with the provider's public keys (JWKS), on every node; a changed one is read within a second."
    )
    issuer: Filled = Field(description="What a token must say as its `iss`.")
    audience: Filled = Field(description="What a token must name in its `aud`.")
    scope_claim: Filled = Field(
        default="scope", description="Claim with the scopes, as words in a text or as a list; other words are ignored."
    )
    algorithms: list[Algorithm] = Field(
        default=["RS256", "ES256", "EdDSA"], min_length=1, description="Signatures that are accepted."
    )


class AccessConfig(Section):
    """Who may ask what."""

    PATHS = ("audit_log",)

    anonymous: list[Scope] = Field(
        default=["infer", "view", "manage", "metrics"],
        description="Scopes of callers without a key or token. With all four, and no `jwt`, nobody's are looked at.",
    )
    jwt: JwtConfig | None = Field(default=None, description="Whose tokens are accepted beside keys.")
    audit_log: Filled | None = Field(
        default=None,
        description="File, on the controller's node, that gets a line of JSON for each call that changes something, "
        "and for calls to the management port that are refused.",
    )

    @property
    def is_open(self) -> bool:
        """Whether everybody may ask everything."""
        return self.jwt is None and {"infer", "view", "manage", "metrics"} <= set(self.anonymous)
