"""The one table of what is fuzzed: dialects of the endpoint and of the management port, and single decoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hypothesis.strategies import SearchStrategy

from serve.processors.image import MAX_PIXELS
from tests.serve.fuzzing import grpc_seeds, http2_conversations, http_seeds
from tests.serve.fuzzing.credentials import changed_keyed_requests, keyed
from tests.serve.fuzzing.endpoint import Endpoint
from tests.serve.fuzzing.grpc_calls import changed_calls
from tests.serve.fuzzing.grpc_seeds import Call
from tests.serve.fuzzing.http_requests import changed_requests
from tests.serve.fuzzing.inputs import PIECES, GrpcInput, Http2Input, HttpInput, Input, WireInput
from tests.serve.fuzzing.made_bodies import MADE, made_requests
from tests.serve.fuzzing.tallies import LIMIT_BYTES
from tests.serve.fuzzing.verdict import Sent
from tests.serve.fuzzing.wire import conversations, on_the_wire

PICTURE_BYTES = 3 * 4 * MAX_PIXELS
"""The largest picture that is decoded, which Pillow holds in four bytes a pixel, and two copies of it."""


@dataclass(frozen=True)
class Dialect:
    """`seeds` are right inputs, `inputs` what hypothesis makes of them. `corpus` is the same inputs as bytes, of which
    `read` takes one from any bytes: the first says whose head it has, or that its own follows."""

    seeds: Sequence[Input]
    inputs: SearchStrategy[Input]
    corpus: Sequence[bytes]
    read: Callable[[bytes], Input]
    door: str = ""
    limit_bytes: int = LIMIT_BYTES

    async def send(self, endpoint: Endpoint, request: Input) -> Sent:
        """What `endpoint` sends back."""
        if isinstance(request, Http2Input):
            return await endpoint.http2(request)
        if isinstance(request, WireInput):
            return await endpoint.wire(request)
        if isinstance(request, GrpcInput):
            return await endpoint.grpc(request)
        return await endpoint.http(self.door, request)


_OWN_HEAD = b"\xff"


def _http(
    right: Sequence[HttpInput], door: str = "torchserve", *, name: str = "", limit_bytes: int = LIMIT_BYTES
) -> Dialect:
    seeds = [seed.as_served() for seed in right]

    def read(data: bytes) -> HttpInput:
        if data[:1] < bytes([len(seeds)]) and data:
            return replace(seeds[data[0]], body=data[1:])
        return HttpInput.from_bytes(data[1:])

    bodies = [bytes([index]) + seed.body for index, seed in enumerate(seeds) if seed.body]
    corpus = bodies + [_OWN_HEAD + seed.to_bytes() for seed in seeds]
    inputs = made_requests(seeds, name) if name in MADE else changed_requests(seeds)
    if name == "keyed":
        inputs = changed_keyed_requests(seeds)
    return Dialect(seeds, inputs, corpus, read, door, limit_bytes)


def _grpc(right: Sequence[Call]) -> Dialect:
    seeds = [seed.serialised() for seed in right]

    def read(data: bytes) -> GrpcInput:
        # To find that there is no such method is no work of a dialect.
        method = seeds[data[0] % len(seeds) if data else 0].method
        return GrpcInput.from_bytes(method, data[1:])

    corpus = [bytes([index]) + seed.to_bytes() for index, seed in enumerate(seeds)]
    return Dialect(seeds, changed_calls(right), corpus, read)


def _wire(right: Sequence[HttpInput]) -> Dialect:
    plain = [seed.as_served() for seed in right]
    sent = [on_the_wire(seed, chunk=chunk) for seed in plain for chunk in (None, 40)]
    seeds = [WireInput(data, PIECES[0]) for data in sent]
    corpus = [bytes([index % len(PIECES)]) + data for index, data in enumerate(sent)]
    return Dialect(seeds, conversations(plain), corpus, WireInput.from_bytes)


def _http2(right: Sequence[Call]) -> Dialect:
    sent = http2_conversations.seeds_of([seed.serialised() for seed in right])
    seeds = [Http2Input(http2_conversations.on_http2(*frames), PIECES[0]) for frames in sent]
    corpus = [data for frames in sent for data in http2_conversations.corpus_of(*frames)]
    return Dialect(seeds, http2_conversations.http2_conversations(right), corpus, http2_conversations.read)


DIALECTS: dict[str, Dialect] = {
    "http-wire": _wire(http_seeds.V2 + http_seeds.PLAIN),
    "http2-wire": _http2(grpc_seeds.V2 + grpc_seeds.STANDARD),
    "v2-http": _http(http_seeds.V2),
    "v2-grpc": _grpc(grpc_seeds.V2),
    "tensorflow-rest": _http(http_seeds.TENSORFLOW),
    "tensorflow-grpc": _grpc(grpc_seeds.TENSORFLOW),
    "torchserve-http": _http(http_seeds.TORCHSERVE),
    "torchserve-grpc": _grpc(grpc_seeds.TORCHSERVE),
    "mms": _http(http_seeds.MMS, "mms"),
    "plain": _http(http_seeds.PLAIN, limit_bytes=PICTURE_BYTES),
    "grpc-standard": _grpc(grpc_seeds.STANDARD),
    "management": _http(http_seeds.MANAGEMENT, "management"),
    "keyed": _http(keyed(http_seeds.V2 + http_seeds.PLAIN), "keyed", name="keyed", limit_bytes=PICTURE_BYTES),
    "forms": _http(http_seeds.FORM_BODIES, name="forms"),
    "csv": _http(http_seeds.CSV_BODIES, name="csv"),
    "npy": _http(http_seeds.NPY_BODIES, name="npy"),
    "pictures": _http(http_seeds.PICTURE_BODIES, limit_bytes=PICTURE_BYTES),
    "compression": _http(http_seeds.COMPRESSED_BODIES, name="compression"),
}
