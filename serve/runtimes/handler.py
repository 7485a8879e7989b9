"""The `handler` runtime: an archive's own handler code, unmodified, in a child process.

Rows of the payload signature go to the handler as the requests of one batch, and its answers come back with the
statuses that the handler gave. A handler that fails, hangs or dies is told in the rows too, as its own server tells it
whatever protocol asked: the replica goes on.
"""

from __future__ import annotations

import json
import signal
import uuid
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_store.errors import DeadlineExceeded, InternalError, ModelNotReady, OnegateError, SourceError
from model_store.manifest import Manifest
from serve.devices import CPU, Device
from serve.errors import ERROR_KIND
from serve.inference import Payload, Tensors
from serve.payloads import answers_to_tensors, requests_of
from serve.runtimes.handler_command import handler_command
from serve.runtimes.handler_folder import HandlerFolder
from serve.runtimes.handler_supervision import HandlerSupervisor


class HandlerRuntime:
    """A handler with its process on `threads` CPU threads; `folder` is needed only until the constructor returns.

    Raises `ModelNotReady` with the handler's own error when it can't be loaded. It lives until `close`, or until nobody
    refers to it.
    """

    def __init__(self, folder: Path, manifest: Manifest, threads: int, device: Device = CPU) -> None:
        if manifest.handler is None:
            raise SourceError(f"version {manifest.version} of {manifest.name!r} names no handler; publish it again")
        self._spec = manifest.handler
        self._name = manifest.name
        private = HandlerFolder(folder)
        try:
            self._supervisor = HandlerSupervisor(handler_command(private, manifest, self._spec, threads, device))
        except BaseException:
            private.close()
            raise
        self.close: Callable[[], object] = weakref.finalize(self, _dispose, self._supervisor, private)
        """Ends the process and removes its folder."""

    @property
    def pid(self) -> int | None:
        """The id of the handler's process; None while there is none."""
        return self._supervisor.pid

    def run(self, inputs: Tensors, signature: str | None = None) -> Tensors:
        """The answers to the rows of the payload signature, in batches of at most the handler's own batch size.

        Raises `InvalidInput` for rows whose `fields` or `headers` are not what the signature says.
        """
        requests = requests_of(inputs)
        size = max(1, self._spec.batch_size)
        batches = [self._batch(requests[start : start + size]) for start in range(0, len(requests), size)]
        return answers_to_tensors([answer for batch in batches for answer in batch])

    def _batch(self, requests: Sequence[Payload]) -> list[Payload]:
        batch = _Batch()
        for request in requests:
            batch.add(request)
        message = {"kind": "batch", "rows": batch.rows}
        try:
            answer, bodies = self._supervisor.exchange(message, batch.values, self._spec.response_timeout_s)
        except (DeadlineExceeded, InternalError, ModelNotReady) as error:
            return [self._failed(error)] * len(requests)
        return [_answer(row, body) for row, body in zip(answer["rows"], bodies, strict=True)]

    def _failed(self, error: OnegateError) -> Payload:
        status, kind, message = FAILURES[type(error), self._spec.server]
        if error.details.get("exit_code") == -signal.SIGKILL:
            status = OUT_OF_MEMORY
        said = {"code": status, "type": kind, "message": message.format(model=self._name)}
        return Payload((json.dumps(said, indent=2) + "\n").encode(), "application/json", status=status)


FAILURES: dict[tuple[type[OnegateError], str], tuple[int, str, str]] = {
    (DeadlineExceeded, "mms"): (408, "RequestTimeoutException", "Worker response timed out."),
    (DeadlineExceeded, "torchserve"): (500, "InternalServerException", "Worker died."),
    (InternalError, "mms"): (500, "InternalServerException", "Worker died."),
    (InternalError, "torchserve"): (500, "InternalServerException", "Worker died."),
    (ModelNotReady, "mms"): (
        503,
        "ServiceUnavailableException",
        "No worker is available to serve request for model: {model}. Consider increasing job queue size.",
    ),
    (ModelNotReady, "torchserve"): (
        503,
        "ServiceUnavailableException",
        'Model "{model}" has no worker to serve inference request. Please use scale workers API to add workers.',
    ),
}
"""What befell the process, and the server that the handler was written for -> status, type and message."""
OUT_OF_MEMORY = 507
"""The status of either server for a worker that was killed: most often the kernel did it for want of memory."""


@dataclass
class _Batch:
    """Requests as the handler's process takes them: rows, and the values of all their parameters in order."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)

    def add(self, request: Payload) -> None:
        """Fields of a form are parameters of their own names; any other body, or one beside fields, is `body`."""
        parameters: dict[str, tuple[bytes, str | None]] = {
            name: (value, request.field_types.get(name)) for name, value in request.fields.items()
        }
        if request.body or not parameters:
            parameters["body"] = (request.body, request.content_type or None)
        given = (value for name, value in request.headers.items() if name.lower() == "x-request-id")
        self.rows.append(
            {
                "id": next(given, None) or str(uuid.uuid4()),
                "headers": dict(request.headers),
                "parameters": [(name, kind) for name, (_, kind) in parameters.items()],
            }
        )
        self.values += [value for value, _ in parameters.values()]


def _answer(row: dict[str, Any], body: bytes) -> Payload:
    status = row["status"]
    if not isinstance(status, int) or not 200 <= status <= 599:
        status = 500  # nothing that HTTP could carry as a final answer
    # Rows with that header are errors of ours, and no handler's.
    headers = {name: value for name, value in row["headers"].items() if name.lower() != ERROR_KIND}
    return Payload(body, row["content_type"], headers=headers, status=status)


def _dispose(supervisor: HandlerSupervisor, private: HandlerFolder) -> None:
    supervisor.close()
    private.close()
