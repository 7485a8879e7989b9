"""What a client hands to its caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np

from model_store.errors import InternalError, InvalidInput, ModelNotFound
from model_store.manifest import Signature, TensorSpec

A = TypeVar("A")
T = TypeVar("T")


class Outputs(dict[str, np.ndarray]):
    """The outputs of an inference by name, in the order of the answer. Each array is the caller's own: aligned and
    writable. BYTES outputs are object arrays of `bytes`."""

    def __init__(self, outputs: Mapping[str, np.ndarray], model: str, version: str, request_id: str = "") -> None:
        super().__init__({name: _own(output) for name, output in outputs.items()})
        self.model = model
        self.version = version
        """The version that answered."""
        self.request_id = request_id

    @property
    def array(self) -> np.ndarray:
        """The only output; raises `InvalidInput` where there are several."""
        if len(self) != 1:
            raise InvalidInput(
                f"model {self.model!r} answered with the outputs {', '.join(self)}; take one by its name"
            )
        return next(iter(self.values()))


class Model(msgspec.Struct, frozen=True):
    """What the endpoint tells of a model; -1 in a shape stands for any size.

    `inputs` and `outputs` are those of its default signature; `signatures` has all where there are several, and is
    empty over gRPC, whose protocol tells the default one only.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    versions: tuple[str, ...] = ()
    platform: str = ""
    signatures: dict[str, Signature] = {}

    def inputs_of(self, signature: str | None = None) -> tuple[TensorSpec, ...]:
        """The inputs of a signature; those of the default one for None, and where the others are not told. Raises
        `ModelNotFound` for one that there is not."""
        if signature is None or not self.signatures:
            return self.inputs
        if signature not in self.signatures:
            listed = ", ".join(self.signatures)
            raise ModelNotFound(f"model {self.name!r} has no signature {signature!r:.80}; signatures: {listed}")
        return self.signatures[signature].inputs


class Body(msgspec.Struct, frozen=True):
    """A raw answer."""

    content: bytes
    content_type: str

    def json(self) -> Any:
        """The content as JSON, in which NaN and infinities may stand bare; raises `InternalError` where it is none."""
        import json

        try:
            return json.loads(self.content)
        except ValueError as error:
            raise InternalError(f"the answer is no JSON but {self.content_type!r:.80}") from error


def read_answer(read: Callable[[A], T], answer: A) -> T:
    """What `read` makes of an answer; raises `InternalError` for one that contradicts itself or is of another protocol,
    for which the caller can do nothing."""
    try:
        return read(answer)
    except (InvalidInput, ValueError, KeyError) as error:
        raise InternalError(f"the answer is no Open Inference answer: {error!s:.300}") from error


def _own(output: np.ndarray) -> np.ndarray:
    """A copy where the array lies unaligned or in memory that nobody may write to."""
    return output if output.flags.writeable and output.flags.aligned else output.copy()
