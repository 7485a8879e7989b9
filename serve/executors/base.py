"""What an executor is to those who hand it batches: slots, and a way to run tensors."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from serve.batches import Join
from serve.inference import Tensors


class Executor(Protocol):
    """Runs batches of one version."""

    @property
    def slots(self) -> int:
        """How many batches it takes at once; 0 while none can run."""

    @property
    def idle(self) -> bool:
        """Whether a batch would run at once, instead of being ready behind another."""

    @property
    def join(self) -> Join:
        """What puts the tensors of several requests together."""

    def run(self, inputs: Tensors, deadline: float, *, apart: bool = False) -> Tensors | Awaitable[Tensors]:
        """The outputs of one batch: at once when the batch is shorter than a thread hop, else to be awaited.

        One that raises `BatchLost` is called with `apart` for each of the batch's requests.
        """


class ClosableExecutor(Executor, Protocol):
    """An executor that gives back what it holds, and runs signatures other than the version's default one."""

    def run(
        self, inputs: Tensors, deadline: float, signature: str | None = None, *, apart: bool = False
    ) -> Tensors | Awaitable[Tensors]:
        """As `Executor.run`; None stands for the default signature."""

    async def close(self) -> None:
        """To be called when nothing runs any more."""


class SignatureView:
    """An executor as the batch queue of a signature other than the default sees it."""

    def __init__(self, executor: ClosableExecutor, signature: str) -> None:
        self._executor = executor
        self._signature = signature
        self.join = executor.join

    @property
    def slots(self) -> int:
        """Batches that it takes at once, those of other signatures included."""
        return self._executor.slots

    @property
    def idle(self) -> bool:
        """Whether a batch would run at once."""
        return self._executor.idle

    def run(self, inputs: Tensors, deadline: float, *, apart: bool = False) -> Tensors | Awaitable[Tensors]:
        """The outputs of one batch."""
        if apart:
            return self._executor.run(inputs, deadline, self._signature, apart=True)
        return self._executor.run(inputs, deadline, self._signature)
