"""Reading PyTorch's files: programs, TorchScript, weights, pickled modules. What runs code is vetted before."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from converters.pytorch.onnx_export import quiet
from converters.pytorch.program import Program
from model_store.errors import SourceError, TrustRequired


def load_program(path: Path, source_name: str) -> Program:
    """The program of a vetted `.pt2` archive. Raises `SourceError` when this PyTorch can't read it."""
    import torch

    try:
        with quiet(prints=True):
            return Program(torch.export.load(path))
    except Exception as error:  # anything from KeyError to C++ errors
        raise _unreadable(source_name, error) from error


def load_script(path: Path, source_name: str) -> Any:
    """The module of a vetted TorchScript archive on the CPU, in evaluation mode. Raises `SourceError`."""
    import torch

    try:
        with quiet(prints=True):
            return torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:
        raise _unreadable(source_name, error) from error


def load_pickled(path: Path, source_name: str, *, trust: bool) -> Any:
    """What `torch.save` wrote: tensors and containers, and with `trust` anything, which runs code of the file.

    Raises `TrustRequired` for anything else without `trust`, `SourceError` for what can't be read.
    """
    import torch

    try:
        with quiet(prints=True):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not trust:
            raise TrustRequired(
                f"source {source_name!r} is a pickle of more than weights, and loading it runs code that it carries; "
                "export the model with torch.export.save, or say `trust: true`"
            ) from error
    except Exception as error:
        raise _unreadable(source_name, error) from error
    try:
        with quiet(prints=True):
            return torch.load(path, map_location="cpu", weights_only=False)
    except (ModuleNotFoundError, AttributeError) as error:
        raise SourceError(
            f"source {source_name!r} is pickled with classes that can't be imported here ({error}); install their "
            "package, or place their module in the folder of the config"
        ) from error
    except Exception as error:
        raise _unreadable(source_name, error) from error


def _unreadable(source_name: str, error: Exception) -> SourceError:
    import torch

    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return SourceError(
        f"source {source_name!r} can't be loaded by PyTorch {torch.__version__.split('+')[0]}: "
        f"{(lines or [type(error).__name__])[0][:300]}"
    )
