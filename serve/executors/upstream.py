"""Upstream servers: batches go to another server's Open Inference gRPC service, at one of its addresses."""

from __future__ import annotations

import asyncio

import numpy as np
from google.protobuf.message import DecodeError

from model_store.errors import InternalError, InvalidInput
from model_store.manifest import Manifest
from serve.batches import Join
from serve.dialects.open_inference_grpc_repeated import RequestWriter, ResponseReader
from serve.executors.remote import RemoteExecutor
from serve.executors.remote_client import ServerGone
from serve.executors.upstream_client import UpstreamClient
from serve.inference import Tensors
from serve.routing import UpstreamOptions, VersionEntry
from serve.tensors import datatype_of
from serve.upstreams import upstream_model

PROBE_TIMEOUT_S = 2.0

SILENT_PROBES = 2
"""An address with calls under way that says nothing so often is lost: they go elsewhere."""


class UpstreamExecutor(RemoteExecutor[UpstreamClient]):
    """The executor of one version that is a model of another server."""

    def __init__(self, entry: VersionEntry) -> None:
        self.options = entry.serve.upstream or UpstreamOptions()
        super().__init__(entry.key, ("address", "addresses"), self.options.max_concurrent)
        self.join: Join = np.concatenate
        self._named = upstream_model(entry.manifest.source_name)
        self._manifest: Manifest = entry.manifest
        self._clients = {
            address: UpstreamClient(address, self._named, self.options) for address in self._named.addresses
        }
        for client in self._clients.values():
            client.failed = True
        self._heard: dict[str, int] = {}
        self._usable_at: float | None = None
        self._requests = RequestWriter()
        self._responses = ResponseReader()

    async def reconnect(self) -> None:
        """Asks the addresses that are not in use, and those that keep calls waiting, whether they are ready."""
        asked = [client for client in self._clients.values() if client.failed or self._keeps_waiting(client)]
        if not self.breaker.quiet:
            self._note_slots()
        await asyncio.gather(*map(self._probe, asked))
        if self._usable:
            self._usable_at = self._loop.time()

    @property
    def away_s(self) -> float:
        """As of every executor; to about a second."""
        return 0.0 if self._usable or self._usable_at is None else self._loop.time() - self._usable_at

    def _keeps_waiting(self, client: UpstreamClient) -> bool:
        before = self._heard.get(client.id)
        self._heard[client.id] = client.answers
        return client.in_flight > 0 and before == client.answers

    async def _probe(self, client: UpstreamClient) -> None:
        ready = await client.ready(PROBE_TIMEOUT_S)
        client.silent = client.silent + 1 if ready is None else 0
        if ready:
            if client.failed:
                client.failed = False
                self._note_slots()
        elif not client.failed and (ready is False or client.silent >= SILENT_PROBES):
            self._note_failure(client, ServerGone("it is not ready" if ready is False else "it gives no sign of life"))
            if ready is None:
                client.give_up()

    async def _call(self, client: UpstreamClient, inputs: Tensors, timeout_s: float, signature: str | None) -> Tensors:
        message = self._requests.write(self._named.model, self._named.version, inputs)
        answer = await client.infer(message, timeout_s)
        try:
            outputs = self._responses.read(answer)
        except (InvalidInput, DecodeError) as error:
            raise InternalError(f"the upstream server's answer can't be read: {error}") from error
        return self._checked(outputs)

    def _checked(self, outputs: Tensors) -> Tensors:
        """The outputs of the signature, in its order: other servers may order, or name, them as they like."""
        specs = self._manifest.signatures[self._manifest.default_signature].outputs
        told = {name: datatype_of(tensor) for name, tensor in outputs.items()}
        if any(told.get(spec.name) != spec.datatype for spec in specs):
            expected = ", ".join(f"{spec.name} {spec.datatype}" for spec in specs)
            got = ", ".join(f"{name} {datatype}" for name, datatype in told.items())
            raise InternalError(f"expected the outputs {expected} of the upstream server; got {got or 'none'}")
        return {spec.name: outputs[spec.name] for spec in specs}

    async def close(self) -> None:
        """Ends all connections; to be called when nothing runs any more."""
        clients = list(self._clients.values())
        await super().close()
        await asyncio.gather(*(client.shut() for client in clients))
