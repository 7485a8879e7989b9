"""Calls to another server's Open Inference gRPC service, with grpcio, which is imported here only."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from model_store.errors import (
    ERROR_KINDS,
    DeadlineExceeded,
    Forbidden,
    InternalError,
    InvalidInput,
    ModelNotReady,
    OnegateError,
    Overloaded,
    Unsupported,
    first_line,
)
from serve.errors import ERROR_KIND, read_retry_after
from serve.executors.hops import told_to_others
from serve.executors.remote_client import RemoteClient, ServerGone
from serve.grpc_outcomes import UNREACHABLE, is_of_a_server
from serve.protocols import open_inference as messages
from serve.routing import UpstreamOptions
from serve.upstreams import ModelMetadata, TensorMetadata, UpstreamModel

ASK_TIMEOUT_S = 5.0
"""For what the server tells of a model, at each address."""

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Each client its own connection: those of one address that failed must not count for the others.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.enable_retries", 0),
)

_KINDS: dict[str, type[OnegateError]] = {
    "INVALID_ARGUMENT": InvalidInput,
    "OUT_OF_RANGE": InvalidInput,
    "RESOURCE_EXHAUSTED": Overloaded,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "UNIMPLEMENTED": Unsupported,
}
"""gRPC code -> kind, for errors that are the caller's matter as much as if the model ran here; any other is ours."""

_FINER = ("OutOfMemory", "PayloadTooLarge")
"""Kinds that another onegate may name beside a code of these; what it says of its own callers' limits is our matter."""

_GONE = ("UNAVAILABLE", "NOT_FOUND", "CANCELLED")
"""Codes with which another address may do better."""


class UpstreamClient(RemoteClient):
    """Calls to a model at one address."""

    def __init__(self, address: str, named: UpstreamModel, options: UpstreamOptions) -> None:
        super().__init__(address)
        grpc = _grpc()
        self._named = named
        self._aio = grpc.aio
        self._metadata = call_metadata(options)
        self._channel = (
            grpc.aio.secure_channel(address, _credentials(grpc, options), options=_OPTIONS)
            if named.tls
            else grpc.aio.insecure_channel(address, options=_OPTIONS)
        )
        self._infer = self._method("ModelInfer")
        self._ready = self._method("ModelReady")
        self._under_way: set[Any] = set()
        self.answers = 0
        """Calls that the server has answered, whatever it said."""
        self.silent = 0
        """Times in a row that it did not say whether it is ready."""

    def _method(self, name: str) -> Any:
        return self._channel.unary_unary(f"/{messages.SERVICE}/{name}")

    async def infer(self, message: bytes, timeout_s: float) -> bytes:
        """One batch: a `ModelInferRequest` to the `ModelInferResponse`.

        Raises the error that the server answered with, `DeadlineExceeded` when it did not in time, and `ServerGone`.
        """
        call = self._infer(message, timeout=timeout_s, metadata=(*self._metadata, *told_to_others()))
        self._under_way.add(call)
        try:
            answer: bytes = await call
        except self._aio.AioRpcError as error:
            raise self._told(error) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ServerGone("it gives no sign of life", begun=True) from None
        finally:
            self._under_way.discard(call)
        self.answers += 1
        return answer

    def _told(self, error: Any) -> Exception:
        # Without the address: these are told to clients.
        code, text = error.code().name, first_line(error.details())
        answered = is_of_a_server(code, text)
        self.answers += answered
        if code in _GONE:
            # What it answered itself, it did not die of.
            return ServerGone(text, begun=not answered and not text.startswith(UNREACHABLE))
        kind = _KINDS.get(code)
        if kind is None:
            return InternalError(f"the upstream server answered {code}: {text}")
        metadata = dict(error.trailing_metadata() or ())
        named = metadata.get(ERROR_KIND)
        told = (ERROR_KINDS[named] if named in _FINER else kind)(text)
        told.details |= read_retry_after(metadata.get("retry-after"))
        return told

    async def ready(self, timeout_s: float) -> bool | None:
        """Whether the server answers and has the model; None where it does not answer."""
        question = messages.ModelReadyRequest(name=self._named.model, version=self._named.version).SerializeToString()
        try:
            data = await self._ready(question, timeout=timeout_s, metadata=self._metadata)
        except self._aio.AioRpcError as error:
            return False if is_of_a_server(error.code().name, first_line(error.details())) else None
        return bool(messages.ModelReadyResponse.FromString(data).ready)

    def give_up(self) -> None:
        """Ends the calls under way: the server is lost, and they go elsewhere."""
        for call in list(self._under_way):
            call.cancel()

    async def shut(self) -> None:
        """Ends the connection."""
        await self._channel.close()


def ask_metadata(named: UpstreamModel, options: UpstreamOptions) -> ModelMetadata:
    """What the first address that answers tells of the model. Blocks.

    Raises `ModelNotReady` where none answers, and what the server says of a model that it does not have.
    """
    grpc = _grpc()
    question = messages.ModelMetadataRequest(name=named.model, version=named.version).SerializeToString()
    failures = []
    for address in named.addresses:
        channel = (
            grpc.secure_channel(address, _credentials(grpc, options), options=_OPTIONS)
            if named.tls
            else grpc.insecure_channel(address, options=_OPTIONS)
        )
        with channel:
            ask = channel.unary_unary(f"/{messages.SERVICE}/ModelMetadata")
            try:
                answer = ask(question, timeout=ASK_TIMEOUT_S, metadata=call_metadata(options))
            except grpc.RpcError as error:
                failures.append(f"{address}: {first_line(error.details())} ({error.code().name})")
                continue
        return _told_metadata(messages.ModelMetadataResponse.FromString(answer))
    raise ModelNotReady(f"no upstream address tells of model {named.model!r:.80}: {'; '.join(failures)}")


def _told_metadata(answer: Any) -> ModelMetadata:
    def tensors(described: Any) -> tuple[TensorMetadata, ...]:
        return tuple(TensorMetadata(each.name, each.datatype, tuple(each.shape)) for each in described)

    return ModelMetadata(tensors(answer.inputs), tensors(answer.outputs), answer.platform)


def call_metadata(options: UpstreamOptions) -> tuple[tuple[str, str], ...]:
    """The API key as it is sent; raises `Forbidden` where it can't be read. It is read anew for each connection, and
    written nowhere."""
    if options.api_key_file is None and options.api_key_env is None:
        return ()
    if options.api_key_file is not None:
        try:
            lines = Path(options.api_key_file).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise Forbidden(f"upstream.api_key_file: {options.api_key_file!r} can't be read: {error}") from error
        key = lines[0].strip() if lines else ""
    else:
        key = os.environ.get(options.api_key_env or "", "")
    if not key:
        raise Forbidden("upstream: the file or environment variable of the API key is empty; put the key there")
    header = options.api_key_header
    return ((header, f"Bearer {key}" if header == "authorization" else key),)


def _credentials(grpc: Any, options: UpstreamOptions) -> Any:
    """Raises `Forbidden` for a file that can't be read."""

    def content(key: str) -> bytes | None:
        path = getattr(options, key)
        try:
            return None if path is None else Path(path).read_bytes()
        except OSError as error:
            raise Forbidden(f"upstream.{key}: {path!r} can't be read: {error.strerror or error}") from error

    return grpc.ssl_channel_credentials(content("ca"), content("private_key"), content("certificate"))


def _grpc() -> Any:
    try:
        import grpc
        import grpc.aio
    except ImportError as error:
        raise Unsupported("models of other servers need grpcio; install onegate[upstream]") from error
    return grpc
