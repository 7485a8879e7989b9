"""The config's `serve.replicas` where it is not one number: bounds, and when the number moves between them."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import Discriminator, Field, Tag

from serve.config_sections.section import Section

MOST_REPLICAS = 256

NUMBER, MAPPING = "<number>", "<mapping>"
"""Tags of the two forms. No key of a config begins like this: pydantic puts them into the paths of its findings."""


class ScalingConfig(Section):
    """Bounds of the number of replicas, and when it moves between them."""

    min: int = Field(
        default=1,
        ge=0,
        le=MOST_REPLICAS,
        description="Fewest replicas; with 0 a model that nobody calls keeps none, and its next request starts one.",
    )
    max: int = Field(ge=1, le=MOST_REPLICAS, description="Most replicas.")
    target_queue: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Rows, waiting or running, that each replica is to have; more rows get more replicas. Without it, "
        "two batches of as many rows as the model takes at once.",
    )
    up_delay_s: float = Field(
        default=1.0, ge=0, le=3600, description="Seconds for which there are more rows than that before replicas come."
    )
    down_delay_s: float = Field(
        default=60.0,
        ge=1,
        le=86_400,
        description="Seconds for which fewer replicas would do before one goes, and without any request before the "
        "last one does.",
    )


def _form(value: Any) -> str:
    return MAPPING if isinstance(value, dict | ScalingConfig) else NUMBER


ReplicaNumber = Annotated[
    Annotated[int, Ge(1), Le(MOST_REPLICAS), Tag(NUMBER)] | Annotated[ScalingConfig, Tag(MAPPING)],
    Discriminator(_form),
]
"""`replicas: 2`, or `replicas: {min: 1, max: 4}`."""
