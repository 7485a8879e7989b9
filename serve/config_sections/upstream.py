"""The config's `serve.upstream`: how a model of another server is called."""

from __future__ import annotations

from pydantic import Field

from serve.config_sections.rules import Filled
from serve.config_sections.section import Section


class UpstreamConfig(Section):
    """How the other server is called, where the source is a `grpc://` or `grpcs://` URL."""

    PATHS = ("ca", "certificate", "private_key", "api_key_file")

    ca: Filled | None = Field(
        default=None, description="A PEM file of the authorities that its certificate may be of; by default the usual."
    )
    certificate: Filled | None = Field(
        default=None, description="A PEM file with our own certificate, for a server that asks for one."
    )
    private_key: Filled | None = Field(default=None, description="The PEM file of that certificate's key.")
    api_key_file: Filled | None = Field(
        default=None, description="A file whose first line is the API key that it wants to see."
    )
    api_key_env: Filled | None = Field(default=None, description="The environment variable that holds this key.")
    api_key_header: str = Field(
        default="authorization",
        pattern=r"^[a-z0-9_.-]+$",
        description="Header in which the key is sent; in `authorization` behind the word Bearer.",
    )
    max_concurrent: int = Field(
        default=64, ge=1, le=4096, description="Most requests that each gateway has under way at each of its addresses."
    )
    merge: bool = Field(
        default=False,
        description="Whether rows of several requests may travel as one: the model has to answer each row as if it "
        "came alone.",
    )
