"""The config's keys on CPUs, GPUs and other resources, which stand under `serve`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serve.config_sections.rules import Filled, Rule
from serve.config_sections.section import Section

Share = Annotated[
    float,
    Rule(
        "a fraction from 0 to 1, or a whole number up to 64",
        lambda count: 0 <= count <= 1 or (1 < count <= 64 and count == int(count)),
        why="Ray shares out one GPU, or gives several whole ones",
        schema={"anyOf": [{"minimum": 0, "maximum": 1}, {"multipleOf": 1, "maximum": 64}], "minimum": 0},
    ),
]
Amounts = Annotated[
    dict[str, float],
    Rule(
        "amounts above 0 by the names of resources other than CPU, GPU and memory",
        lambda amounts: all(
            amount > 0 and name.strip() and name not in ("CPU", "GPU", "memory") for name, amount in amounts.items()
        ),
        why="CPUs and GPUs have keys of their own",
    ),
]


class ProviderConfig(Section):
    """One of ONNX Runtime's execution providers."""

    name: Literal["cuda", "tensorrt", "cpu"] = Field(description="Which one.")
    options: dict[str, str | int | float | bool] = Field(
        default={}, description="Its options, under the names that ONNX Runtime's documentation gives them."
    )


class DevicesConfig(Section):
    """What each replica of a model is given, and where it computes."""

    cpus: float = Field(
        default=1, gt=0, le=256, description="Processor cores of each replica; a fraction lets several share one."
    )
    threads: int | None = Field(
        default=None, ge=1, le=256, description="Threads in which a batch is computed; by default `cpus`, rounded up."
    )
    gpus: Share | None = Field(
        default=None,
        description="GPUs of each replica; a fraction lets several share one. By default 1 with device cuda, else 0.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="auto: a GPU where one is asked for and can be used, else the CPU; cuda: fails without one.",
    )
    providers: list[ProviderConfig] | None = Field(
        default=None,
        min_length=1,
        description="Execution providers of ONNX Runtime, the first that has an operator computes it; by default cuda "
        "on a GPU, and cpu for what is left.",
    )
    gpu_memory_mib: int | None = Field(
        default=None,
        ge=1,
        le=1_048_576,
        description="MiB of GPU memory that a replica may take; by default its fraction of the GPU.",
    )
    resources: Amounts = Field(default={}, description="Other resources of Ray's nodes that each replica needs.")
    accelerator_type: Filled | None = Field(
        default=None, description="Kind of GPU that the node must have, in Ray's words, as `A100` or `T4`."
    )
