"""A client of the endpoint for Python programs: numpy in, numpy out, over HTTP or gRPC. `docs/client.md` is its page.

Importing it loads numpy and msgspec, no server and no framework; protobuf and grpcio only once an address begins with
`grpc`.
"""

from __future__ import annotations

from model_store.manifest import Signature, TensorSpec
from serve.client.answers import Body, Model, Outputs
from serve.client.asynchronous import AsyncClient
from serve.client.retries import Retries
from serve.client.synchronous import Client

__all__ = ["AsyncClient", "Body", "Client", "Model", "Outputs", "Retries", "Signature", "TensorSpec"]
