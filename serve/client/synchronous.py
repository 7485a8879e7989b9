"""`Client`: the endpoint for programs without an event loop."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from model_store.errors import OnegateError
from serve.client.addresses import Address, address_of
from serve.client.answers import Body, Model, Outputs
from serve.client.calls import Calls
from serve.client.http_connections import HttpConnections
from serve.client.questions import Inputs, Question, target_of
from serve.client.retries import Pause, Retries, Send, Steps, T
from serve.tls_files import ClientFiles


class Client:
    """The endpoint at `url`, called by any number of threads, and in processes that are forked.

    `url` is `http://127.0.0.1:8080`, `grpc://127.0.0.1:8081`, or with TLS `https://` and `grpcs://`; `ca` is who signed
    the endpoint's certificate, by default whom the system trusts, `certificate` and `private_key` are what is shown
    where clients need one (PEM files). `deadline_s` is how long a call may take with all its tries, and is told to the
    endpoint, which stops working then.

    Each call raises the error that the endpoint answers, of the kinds of `model_store/errors.py`; `ModelNotReady` where
    nobody answers, and `DeadlineExceeded` where nobody does in time.
    """

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
        self._transport: Any = _grpc_channels(address) if address.is_grpc else HttpConnections(address)

    def infer(
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
        """The outputs by name, all or those that `outputs` names. `inputs` are arrays by name, or one array for a model
        with one input, each in the model's own datatype and with its batch dimension. `priority` 1 is the most urgent.
        """
        question = Question(
            target_of(model, version, label),
            signature=signature,
            outputs=outputs,
            id=request_id,
            priority=priority,
            parameters=parameters or {},
        )
        return self._run(self._calls.infer(question, inputs, deadline_s))

    def predict(
        self,
        model: str,
        content: bytes | memoryview,
        *,
        content_type: str = "application/octet-stream",
        version: str | int | None = None,
        label: str | None = None,
        deadline_s: float | None = None,
    ) -> Body:
        """What a model answers to a raw body: a picture for its processor, anything for its handler, JSON, CSV or numpy
        files for any model. Over HTTP only."""
        return self._run(self._calls.predict(target_of(model, version, label), content, content_type, deadline_s))

    def model(
        self,
        model: str,
        *,
        version: str | int | None = None,
        label: str | None = None,
        deadline_s: float | None = None,
    ) -> Model:
        """What the endpoint tells of a model: its inputs and outputs, and the versions that can be called."""
        return self._run(self._calls.model(target_of(model, version, label), deadline_s))

    def ready(
        self,
        model: str | None = None,
        *,
        version: str | int | None = None,
        label: str | None = None,
        deadline_s: float | None = None,
    ) -> bool:
        """Whether a model can be called now; without one, whether all of the config can. False where nobody answers."""
        target = None if model is None else target_of(model, version, label)
        return self._run(self._calls.ready(target, deadline_s))

    def close(self) -> None:
        """Ends the connections that are idle."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    done = self._do(step)
                except OnegateError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(done)
        except StopIteration as end:
            value: T = end.value
            return value

    def _do(self, step: Send | Pause) -> Any:
        if isinstance(step, Send):
            return self._transport.send(step.message, step.timeout_s)
        return time.sleep(step.seconds)


def _grpc_channels(address: Address) -> Any:
    from serve.client.grpc_channels import GrpcChannels

    return GrpcChannels(address)
