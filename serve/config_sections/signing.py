"""The config's `signing`: which versions may be served at all."""

from __future__ import annotations

from pydantic import Field

from serve.config_sections.rules import Filled
from serve.config_sections.section import Section


class SigningConfig(Section):
    """Which versions may be served at all."""

    PATHS = ("public_keys",)

    required: bool = Field(
        default=False,
        description="Whether only versions are served that one of `public_keys` signed, with `onegate sign`.",
    )
    public_keys: list[Filled] = Field(
        default=[], description="Files with the keys that are trusted, in PEM. They are read when the gateway starts."
    )
