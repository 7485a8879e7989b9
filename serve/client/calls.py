"""The calls of a client as steps, with an event loop and without, over HTTP and gRPC: which exchanges each takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from model_store.errors import ConfigError, InvalidInput, ModelNotReady
from serve.client.addresses import Address
from serve.client.answers import Body, Model, Outputs
from serve.client.http_protocol import HttpProtocol
from serve.client.questions import Inputs, Question, Target, tensor_of
from serve.client.retries import ONE_TRY, Exchange, Retries, Steps, T, attempts, new_budget


class CallProtocol(Protocol):
    """One protocol from the caller's side."""

    def infer(self, question: Question) -> Exchange[Outputs]:
        """An inference."""

    def predict(self, target: Target, content: bytes | memoryview, content_type: str) -> Exchange[Body]:
        """A raw body; raises `Unsupported` where the protocol carries none."""

    def model(self, target: Target) -> Exchange[Model]:
        """What a model is."""

    def ready(self, target: Target | None) -> Exchange[bool]:
        """Whether a model can be called, or all of the config."""


class Calls:
    """Calls of the endpoint at `address`; `deadline_s` is that of calls which name none."""

    def __init__(self, address: Address, deadline_s: float, retries: Retries) -> None:
        self._protocol: CallProtocol = _grpc_protocol() if address.is_grpc else HttpProtocol(address)
        self._deadline_s = _checked(deadline_s)
        self._retries = retries
        self._budget = new_budget()
        self._sole_inputs: dict[tuple[Target, str | None], str] = {}
        """Of models whose callers give an array without a name."""

    def infer(self, question: Question, inputs: Inputs, deadline_s: float | None) -> Steps[Outputs]:
        """An inference. An array without a name is the model's only input."""
        end = self._end(deadline_s)
        target, signature = question.target, question.signature

        def exchange(named: Mapping[str, Any]) -> Exchange[Outputs]:
            tensors = {name: tensor_of(name, given) for name, given in named.items()}
            return self._protocol.infer(msgspec.structs.replace(question, inputs=tensors))

        if isinstance(inputs, Mapping):
            return (yield from self._attempts(exchange(inputs), end))
        known = self._sole_inputs.get((target, signature))
        name = known or (yield from self._sole_input(target, signature, end))
        try:
            return (yield from self._attempts(exchange({name: inputs}), end))
        except InvalidInput:
            # The model may have been replaced by one whose input has another name.
            if known is None or (yield from self._sole_input(target, signature, end)) == name:
                raise
        return (yield from self._attempts(exchange({self._sole_inputs[target, signature]: inputs}), end))

    def predict(
        self, target: Target, content: bytes | memoryview, content_type: str, deadline_s: float | None
    ) -> Steps[Body]:
        """A raw body."""
        end = self._end(deadline_s)
        return (yield from self._attempts(self._protocol.predict(target, content, content_type), end))

    def model(self, target: Target, deadline_s: float | None) -> Steps[Model]:
        """What a model is."""
        end = self._end(deadline_s)
        return (yield from self._attempts(self._protocol.model(target), end))

    def ready(self, target: Target | None, deadline_s: float | None) -> Steps[bool]:
        """Whether a model can be called, or all of the config; no where nobody answers."""
        end = self._end(deadline_s)
        try:
            return (yield from attempts(self._protocol.ready(target), end, ONE_TRY, self._budget))
        except ModelNotReady:
            return False

    def _attempts(self, exchange: Exchange[T], end: float) -> Steps[T]:
        return attempts(exchange, end, self._retries, self._budget)

    def _sole_input(self, target: Target, signature: str | None, end: float) -> Steps[str]:
        model = yield from self._attempts(self._protocol.model(target), end)
        inputs = model.inputs_of(signature)
        if len(inputs) != 1:
            names = ", ".join(each.name for each in inputs)
            raise InvalidInput(f"model {target.model!r:.80} takes the inputs {names}; give arrays by these names")
        self._sole_inputs[target, signature] = inputs[0].name
        return inputs[0].name

    def _end(self, deadline_s: float | None) -> float:
        return time.monotonic() + (self._deadline_s if deadline_s is None else _checked(deadline_s))


def _checked(deadline_s: float) -> float:
    if not 0 < deadline_s < float("inf"):
        raise ConfigError(f"expected a deadline of more than 0 seconds, got {deadline_s!r:.40}")
    return deadline_s


def _grpc_protocol() -> CallProtocol:
    from serve.client.grpc_protocol import GrpcProtocol

    return GrpcProtocol()
