"""The config's `convert`: how a source becomes an ONNX model, and what the proof of equal answers asks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from serve.config_sections.rules import Filled
from serve.config_sections.section import Section


class ParityConfig(Section):
    """How closely the converted model must agree with the source."""

    rtol: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Largest error of an output, relative to the output's own scale; by default 0.0001 for float32, "
        "0.01 for float16 and 0.1 for int8.",
    )
    class_agreement: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Smallest share of rows whose class must agree; by default 0.99 for float16, 0.95 for int8, and "
        "all integers and text equal for float32.",
    )


class ConvertConfig(Section):
    """How the source becomes an ONNX model."""

    PATHS = ("calibration",)
    COMMANDS = ("against_mxnet",)

    to: Literal["onnx", "native"] = Field(
        default="onnx", description="onnx, or native: the framework's own runtime without trying ONNX."
    )
    on_failure: Literal["native", "reject"] = Field(
        default="native",
        description="Where ONNX is impossible or not equal. native: served in its own framework; reject: refused.",
    )
    precision: Literal["float32", "float16", "int8"] = Field(
        default="float32",
        description="float32 leaves the numbers as the source has them; float16 and int8 make the model smaller.",
    )
    calibration: Filled | None = Field(
        default=None, description="An `.npz` file of real inputs by name, rows first, for static int8 quantisation."
    )
    against_mxnet: Filled | None = Field(
        default=None,
        description="Command of a Python that has MXNet: an MXNet model is then compared with MXNet itself.",
    )
    parity: ParityConfig = Field(default=ParityConfig(), description="What the proof of equal answers asks.")
    timeout_s: float = Field(
        default=600.0, gt=0, le=86_400, description="Seconds that a conversion may take; a longer one is ended."
    )
    memory_gib: float = Field(
        default=8.0, gt=0, le=4096, description="GiB of memory that a conversion may use; one that needs more is ended."
    )
