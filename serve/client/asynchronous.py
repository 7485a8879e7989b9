"""`AsyncClient`: the endpoint for programs with an event loop. Its calls are those of `Client`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from model_store.errors import OnegateError
from serve.client.addresses import Address, address_of
from serve.client.answers import Body, Model, Outputs
from serve.client.calls import Calls
from serve.client.http_streams import HttpStreams
from serve.client.questions import Inputs, Question, target_of
from serve.client.retries import Pause, Retries, Send, Steps, T
from serve.tls_files import ClientFiles


class AsyncClient:
    """As `Client`, for programs with an event loop: the same arguments, and the same calls, to be awaited. Any number
    may run at once. Connections belong to the event loop that made them; a call in another makes its own."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        api_key: str | None = None,
        ca: str | None = None,
        certificate: str | None = None,
        private_key: str | None = None,
        deadline_s: float = 30.0,
        retries: Retries = Retries(),  # noqa: B008  # frozen
    ) -> None:
        address = address_of(url, api_key, ClientFiles(ca, certificate, private_key))
        self._calls = Calls(address, deadline_s, retries)
        self._transport: Any = _grpc_streams(address) if address.is_grpc else HttpStreams(address)

    async def infer(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: str | int | None = None,
        label: str | None = None,
        signature: str | None = None,
        outputs: Sequence[str] = (),
        request_id: str = "",
        priority: int = 0,
        parameters: Mapping[str, Any] | None = None,
        deadline_s: float | None = None,
    ) -> Outputs:
        """The outputs by name; see `Client.infer`."""
        question = Question(
            target_of(model, version, label),
            signature=signature,
            outputs=outputs,
            id=request_id,
            priority=priority,
            parameters=parameters or {},
        )
        return await self._run(self._calls.infer(question, inputs, deadline_s))

    async def predict(
        self,
        model: str,
        content: bytes | memoryview,
        *,
        content_type: str = "application/octet-stream",
        version: str | int | None = None,
        label: str | None = None,
        deadline_s: float | None = None,
    ) -> Body:
        """What a model answers to a raw body; see `Client.predict`."""
        return await self._run(self._calls.predict(target_of(model, version, label), content, content_type, deadline_s))

    async def model(
        self,
        model: str,
        *,
        version: str | int | None = None,
        label: str | None = None,
        deadline_s: float | None = None,
    ) -> Model:
        """What the endpoint tells of a model; see `Client.model`."""
        return await self._run(self._calls.model(target_of(model, version, label), deadline_s))

    async def ready(
        self,
        model: str | None = None,
        *,
        version: str | int | None = None,
        label: str | None = None,
        deadline_s: float | None = None,
    ) -> bool:
        """Whether a model can be called now; see `Client.ready`."""
        target = None if model is None else target_of(model, version, label)
        return await self._run(self._calls.ready(target, deadline_s))

    async def close(self) -> None:
        """Ends the connections that are idle."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    done = await self._do(step)
                except OnegateError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(done)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _do(self, step: Send | Pause) -> Any:
        if isinstance(step, Send):
            return await self._transport.send(step.message, step.timeout_s)
        return await asyncio.sleep(step.seconds)


def _grpc_streams(address: Address) -> Any:
    from serve.client.grpc_channels import GrpcStreams

    return GrpcStreams(address)
