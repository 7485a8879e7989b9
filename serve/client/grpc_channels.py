"""Channels of clients over gRPC, with grpcio, which is imported here only."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from typing import Any

from model_store.errors import ConfigError, OnegateError, Unsupported, first_line
from serve.access.bearer import bearer
from serve.client.addresses import Address
from serve.client.grpc_protocol import GrpcMessage
from serve.client.refusals import grpc_refusal
from serve.client.unanswered import cut_off, too_late, unreachable
from serve.grpc_outcomes import CUT_OFF, TOO_LATE, is_of_a_server
from serve.protocols.open_inference import SERVICE
from serve.tls_files import ClientFiles

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A client tries again by its own rules, and soon: until a channel connects anew it only repeats that it failed.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Each client has a connection of its own.
    ("grpc.use_local_subchannel_pool", 1),
)


_UNTRUSTED = ("CERTIFICATE", "certificate", "SSL_ERROR_SSL")
"""In the text where one end does not trust the other."""


class GrpcChannels:
    """The channel of a `Client`. A forked process gets one of its own."""

    def __init__(self, address: Address) -> None:
        self._grpc = _grpc()
        self._channels = _Channels(self._grpc, address, self._grpc)

    def send(self, message: GrpcMessage, timeout_s: float) -> bytes:
        """The answer. Raises the error that the server answered, `DeadlineExceeded` where it did not in time, and
        `ModelNotReady` where the connection could not be made or was lost."""
        call = self._channels.method(message.method, os.getpid())
        try:
            data: bytes = call(message.data, timeout=timeout_s, metadata=self._channels.metadata)
            return data
        except self._grpc.RpcError as error:
            raise self._channels.told(error, timeout_s) from error

    def close(self) -> None:
        """Ends the connection."""
        channel = self._channels.take()
        if channel is not None:
            channel.close()


class GrpcStreams:
    """The channel of an `AsyncClient`, of the event loop that asks; another begins anew."""

    def __init__(self, address: Address) -> None:
        self._aio = _grpc().aio
        self._channels = _Channels(_grpc(), address, self._aio)

    async def send(self, message: GrpcMessage, timeout_s: float) -> bytes:
        """The answer; raises as `GrpcChannels.send` does."""
        call = self._channels.method(message.method, (os.getpid(), asyncio.get_running_loop()))
        try:
            data: bytes = await call(message.data, timeout=timeout_s, metadata=self._channels.metadata)
            return data
        except self._aio.AioRpcError as error:
            raise self._channels.told(error, timeout_s) from error

    async def close(self) -> None:
        """Ends the connection."""
        channel = self._channels.take()
        if channel is not None:
            await channel.close()


class _Channels:
    """A channel of `library` (grpc or grpc.aio) to one address, made when its owner first asks."""

    def __init__(self, grpc: Any, address: Address, library: Any) -> None:
        self._address = address
        self._library = library
        self._credentials = _credentials(grpc, address.files) if address.is_encrypted else None
        self._channel: Any = None
        self._owner: object = None
        self._methods: dict[str, Callable[..., Any]] = {}
        self.metadata = tuple((name.lower(), value) for name, value in bearer(address.key).items())

    def method(self, name: str, owner: object) -> Callable[..., Any]:
        """Calls the method; bytes in, bytes out."""
        if self._owner != owner or self._channel is None:
            self._open()
            self._owner = owner
        call = self._methods.get(name)
        if call is None:
            call = self._methods[name] = self._channel.unary_unary(f"/{SERVICE}/{name}")
        return call

    def _open(self) -> None:
        target, library = self._address.netloc, self._library
        self._methods = {}
        self._channel = (
            library.insecure_channel(target, options=_OPTIONS)
            if self._credentials is None
            else library.secure_channel(target, self._credentials, options=_OPTIONS)
        )

    def take(self) -> Any:
        """The channel, which is no longer held here."""
        channel, self._channel, self._methods = self._channel, None, {}
        return channel

    def told(self, error: Any, timeout_s: float) -> OnegateError:
        """What an error of the library means."""
        code, text = error.code().name, first_line(error.details())
        if not is_of_a_server(code, text):
            return self._unanswered(text, timeout_s)
        return grpc_refusal(code, text, dict(error.trailing_metadata() or ()))

    def _unanswered(self, text: str, timeout_s: float) -> OnegateError:
        url = self._address.url
        if TOO_LATE in text:
            return too_late(url, timeout_s)
        if text.startswith(CUT_OFF):
            return cut_off(url, ConnectionError(text))
        untrusted = any(mark in text for mark in _UNTRUSTED)
        return unreachable(url, (ssl.SSLError if untrusted else ConnectionError)(text))


def _credentials(grpc: Any, files: ClientFiles) -> Any:
    """Raises `ConfigError` for a file that can't be read."""

    def content(path: str | None) -> bytes | None:
        if path is None:
            return None
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise ConfigError(f"client: {path!r} can't be read: {error.strerror or error}") from error

    return grpc.ssl_channel_credentials(content(files.ca), content(files.private_key), content(files.certificate))


def _grpc() -> Any:
    try:
        import grpc
        import grpc.aio
    except ImportError as error:
        raise Unsupported("addresses of gRPC need grpcio; install onegate[upstream]") from error
    return grpc
