"""What a caller asks, apart from the protocol that carries it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from model_store.datatypes import DATATYPES
from model_store.errors import InvalidInput

Inputs: TypeAlias = ArrayLike | Mapping[str, ArrayLike]
"""One array for a model with one input, or arrays by name."""


class Target(msgspec.Struct, frozen=True):
    """A model, and which version of it: by number or alias, by label, or what the config says. `named` is what stands
    in the place of the version."""

    model: str
    named: str | None = None


class Question(msgspec.Struct, frozen=True):
    """An inference: all that is asked beside the inputs, and these as they are sent. `outputs` empty stands for all."""

    target: Target
    inputs: Mapping[str, np.ndarray] = {}
    signature: str | None = None
    outputs: Sequence[str] = ()
    id: str = ""
    priority: int = 0
    parameters: Mapping[str, Any] = {}


def target_of(model: str, version: str | int | None, label: str | None) -> Target:
    """Raises `InvalidInput` where both a version and a label are named."""
    if version is not None and label is not None:
        raise InvalidInput(f"a call names a version or a label, got version {version!r:.40} and label {label!r:.40}")
    return Target(model, label if version is None else str(version))


def tensor_of(name: str, given: ArrayLike) -> np.ndarray:
    """What is sent for `given`: the array in the datatype that it has, text and bytes as BYTES.

    Raises `InvalidInput` for what has no datatype in the protocol.
    """
    tensor = np.asarray(given)
    if tensor.dtype.kind in "US":
        # numpy's own types of text drop zeros at the end; what came as a list has not lost them yet.
        tensor = tensor.astype(object) if isinstance(given, np.ndarray) else np.asarray(given, dtype=object)
    if tensor.dtype.kind == "O":
        return _bytes_tensor(name, tensor)
    native = tensor.dtype.newbyteorder("=")
    if native not in DATATYPES:
        raise InvalidInput(f"input {name!r:.80}: an array of {tensor.dtype} can't be sent; cast it", input=name)
    return tensor.astype(native, copy=False)


def _bytes_tensor(name: str, tensor: np.ndarray) -> np.ndarray:
    sent = np.empty(tensor.shape, dtype=object)
    flat = sent.reshape(-1)
    for index, element in enumerate(tensor.ravel()):
        if isinstance(element, str):
            flat[index] = element.encode()
        elif isinstance(element, bytes):
            flat[index] = element
        else:
            kind = type(element).__name__
            raise InvalidInput(
                f"input {name!r:.80}: expected numbers, or text or bytes throughout, got an element of type {kind} "
                "in an array of objects",
                input=name,
            )
    return sent
