"""What a case of the source tables is: an export as a user has it, and the answers of its own framework.

The tables beside this module list them by framework; `tests/converters/test_sources.py` converts each, loads it with
the runtime that would serve it, and compares. The coverage page (`docs/frameworks.md`) is written from the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

Tensors = dict[str, np.ndarray]
Outcome = Literal["onnx", "native", "refused"]


@dataclass(frozen=True)
class Call:
    """Inputs, and what the source's own framework answered (BYTES as object arrays of `bytes`)."""

    inputs: Tensors
    outputs: Tensors
    signature: str = "serving_default"


@dataclass(frozen=True)
class Built:
    """A source on disk, with its framework's answers at two batch sizes (one for a source that can't be called)."""

    source: Path
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class SourceCase:
    """One row of a table."""

    name: str
    """Unique, as 'pytorch-lstm-bidirectional'."""
    framework: str
    """The converter's name."""
    kind: str
    """What users call it, as 'TorchScript, traced': a row of the coverage page holds all cases of a kind."""
    build: Callable[[Path], Built]
    """Writes the source into an empty folder and runs it in its own framework. Imports the framework itself."""
    expect: Outcome = "onnx"
    remark: str = ""
    """For the coverage page: why it is not ONNX, and what to do then. Needed for all but 'onnx'."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `ConversionOptions`."""
    rtol: float = 1e-4
    """Tolerance of floating outputs, relative to their scale; above the default only with a comment why."""
    reason: str = ""
    """For 'native' and 'refused': a pattern that the reason matches."""
