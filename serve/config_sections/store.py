"""The config's `store_cache`: files of a remote store that are kept on each node."""

from __future__ import annotations

from pydantic import Field

from serve.config_sections.rules import Filled
from serve.config_sections.section import Section


class StoreCacheConfig(Section):
    """Files of a remote store that are kept on each node, so that each is downloaded once; a local store needs none."""

    PATHS = ("folder",)

    folder: Filled | None = Field(
        default=None,
        description="Where they lie, on every node; by default `onegate/blobs` in the cache folder of the user, or in "
        "the temporary folder where that can't be written.",
    )
    max_gib: float = Field(
        default=20.0,
        ge=0,
        le=100_000,
        description="GiB that they may take; those that were not used for longest are removed. 0 keeps none.",
    )
