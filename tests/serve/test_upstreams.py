"""Models of other servers: versions made of what they tell, and batches that run there, over real connections."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import ml_dtypes
import msgspec
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_store.errors import (
    DeadlineExceeded,
    Forbidden,
    InternalError,
    InvalidInput,
    OnegateError,
    OutOfMemory,
    Overloaded,
    SourceError,
)
from model_store.manifest import Signature, TensorSpec
from model_store.store import Store
from serve.config import config_of
from serve.config_sections.model import ModelConfig
from serve.control.preparation import archive_manifest, prepare_model, stored_version
from serve.dialects.open_inference_service import whole_service
from serve.dispatcher import Dispatcher
from serve.executors import upstream as upstream_module
from serve.executors.inline import InlineExecutor
from serve.executors.upstream import UpstreamExecutor
from serve.executors.upstream_client import call_metadata
from serve.front_doors.grpc import GrpcFrontDoor
from serve.inference import InferenceRequest, Tensors
from serve.loading import VersionLoader
from serve.protocols import open_inference as messages
from serve.routing import ModelRoute, Router, RoutingTable, ServeOptions, UpstreamOptions, VersionEntry
from serve.upstreams import UpstreamModel, is_upstream, upstream_model
from tests.serve.tiny_versions import FunctionRuntime, GatedExecutor, dispatcher_of, double, entry
from tests.serve.waiting import eventually

FLOATS = {"x": np.array([[1.5, -2]], np.float32)}
DOUBLED = [[3, -4]]


# -- what a URL names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("grpc://host:8001/m", UpstreamModel(("host:8001",), "m", "", False)),
        ("grpcs://a:8001,b:8002/m?version=3", UpstreamModel(("a:8001", "b:8002"), "m", "3", True)),
        ("grpc://[::1]:8001/a%20model?version=", UpstreamModel(("[::1]:8001",), "a model", "", False)),
    ],
)
def test_a_url_names_addresses_model_and_version(source: str, named: UpstreamModel) -> None:
    assert is_upstream(source)
    assert upstream_model(source) == named


@pytest.mark.parametrize(
    "source",
    [
        "grpc://host/m", "grpc://host:8001", "grpc://host:8001/", "grpc:///m", "grpc://a:1,,b:2/m", "grpc://a:1/m/2",
        "grpc://a:1/m?v=2", "grpc://a:1/m#x", "grpc://user@a:1/m", "grpc://a:1,a:1/m", "grpc://a:0/m",
    ],
)  # fmt: skip
def test_a_url_of_another_form_is_refused(source: str) -> None:
    with pytest.raises(SourceError, match=r"expected (grpc://HOST:PORT/MODEL|nothing or `version`)"):
        upstream_model(source)


@pytest.mark.parametrize("source", ["/exports/grpc", "grpc.onnx", "https://grpc/m", None])
def test_other_sources_are_no_upstreams(source: str | None) -> None:
    assert not is_upstream(source)


# -- servers ---------------------------------------------------------------------------------------------------------


class Upstream:
    """Another server's gRPC port over a dispatcher of this process."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.port = 0

    async def start(self) -> Upstream:
        self._door = GrpcFrontDoor([whole_service()], self.dispatcher.answer)
        (self.port,) = await self._door.start([f"127.0.0.1:{self.port}"])
        return self

    async def stop(self) -> None:
        await self._door.stop(0)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Upstream]]]:
    started: list[Upstream] = []

    async def start(dispatcher: Dispatcher | None = None) -> Upstream:
        started.append(await Upstream(dispatcher or dispatcher_of(entry())).start())
        return started[-1]

    yield start
    for each in started:
        await each.stop()


def version_of(*addresses: str, scheme: str = "grpc", **options: Any) -> VersionEntry:
    """The version of a model `double` of other servers, as its preparation makes it."""
    described = entry()
    source = f"{scheme}://{','.join(addresses)}/double"
    manifest = msgspec.structs.replace(described.manifest, runtime="upstream", framework="upstream", source_name=source)
    serve = ServeOptions("upstream", upstream=UpstreamOptions(**options))
    return VersionEntry(manifest, serve)


@pytest.fixture
async def executors() -> AsyncIterator[Callable[..., Awaitable[UpstreamExecutor]]]:
    made: list[UpstreamExecutor] = []

    async def make(*addresses: str, entry: VersionEntry | None = None, **options: Any) -> UpstreamExecutor:
        executor = UpstreamExecutor(entry or version_of(*addresses, **options))
        made.append(executor)
        await executor.reconnect()
        return executor

    yield make
    for executor in made:
        await executor.close()


async def run(executor: UpstreamExecutor, inputs: Tensors = FLOATS, within_s: float = 10.0) -> Tensors:
    return await executor.run(inputs, asyncio.get_running_loop().time() + within_s)


# -- batches ---------------------------------------------------------------------------------------------------------


async def test_a_batch_is_answered_by_another_server(serve: Any, executors: Any) -> None:
    executor = await executors((await serve()).address, max_concurrent=5)
    assert executor.slots == 5
    assert (await run(executor))["y"].tolist() == DOUBLED


@pytest.mark.parametrize(
    ("datatype", "tensor"),
    [
        ("FP16", np.array([[1.5], [-2]], np.float16)),
        ("BF16", np.array([[1.5], [-2]], ml_dtypes.bfloat16)),
        ("INT64", np.array([[2**62], [-1]])),
        ("BOOL", np.array([[True], [False]])),
        ("BYTES", np.array([[b""], [b"\xff\x00gr\xc3\xbcn"]], object)),
        ("FP32", np.arange(8_000_000, dtype=np.float32).reshape(2, -1)),
    ],
)
async def test_tensors_of_each_kind_and_size_travel_there_and_back(
    serve: Any, executors: Any, datatype: str, tensor: np.ndarray
) -> None:
    spec = (TensorSpec("x", datatype, (-1, -1)),)
    echo = FunctionRuntime(lambda inputs: {"y": inputs["x"]})
    outputs = (TensorSpec("y", datatype, (-1, -1)),)
    described = entry(inputs=spec, outputs=outputs)
    server = await serve(dispatcher_of(described, executor=InlineExecutor(echo, on_loop=True)))
    version = version_of(server.address)
    signatures = {"serving_default": Signature(spec, outputs)}
    version = msgspec.structs.replace(
        version, manifest=msgspec.structs.replace(version.manifest, signatures=signatures)
    )
    executor = await executors(entry=version)
    answer = (await run(executor, {"x": tensor}))["y"]
    assert answer.dtype == tensor.dtype
    assert answer.tolist() == tensor.tolist()


async def test_of_two_addresses_one_dies_and_the_other_answers_everything(serve: Any, executors: Any) -> None:
    gates = [GatedExecutor(slots=16), GatedExecutor(slots=16)]
    servers = [await serve(dispatcher_of(entry(), executor=gate)) for gate in gates]
    executor = await executors(*(server.address for server in servers))
    batches = [asyncio.ensure_future(run(executor)) for _ in range(12)]
    await eventually(lambda: all(gate.started for gate in gates) and all(c.in_flight for c in executor._usable))
    await servers[0].stop()
    gates[1].gate.set()
    assert [answer["y"].tolist() for answer in await asyncio.gather(*batches)] == [DOUBLED] * 12
    assert executor.slots == 64
    gates[0].gate.set()
    await servers[0].start()
    async with asyncio.timeout(10):
        while executor.slots < 128:
            await executor.reconnect()
            await asyncio.sleep(0.05)
    assert (await run(executor))["y"].tolist() == DOUBLED


async def test_an_address_where_nobody_listens_is_left_out(serve: Any, executors: Any, free_port: int) -> None:
    executor = await executors(f"127.0.0.1:{free_port}", (await serve()).address)
    assert executor.slots == 64
    for _ in range(5):
        assert (await run(executor))["y"].tolist() == DOUBLED


async def test_a_server_without_the_model_is_left_out(serve: Any, executors: Any) -> None:
    executor = await executors((await serve(dispatcher_of(entry("another")))).address)
    assert executor.slots == 0
    with pytest.raises(DeadlineExceeded, match=r"^no address of 'double' answered before the deadline$"):
        await run(executor, within_s=0.1)


async def test_a_model_that_is_taken_from_one_server_goes_on_at_the_other(serve: Any, executors: Any) -> None:
    servers = [await serve(), await serve()]
    executor = await executors(*(server.address for server in servers))
    table = servers[0].dispatcher.router.table
    servers[0].dispatcher.router.update(msgspec.structs.replace(table, versions=(), routes={}))
    for _ in range(20):
        assert (await run(executor))["y"].tolist() == DOUBLED
    assert executor.slots == 64


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (InvalidInput, InvalidInput),
        (Overloaded, Overloaded),
        (OutOfMemory, Overloaded),
        (InternalError, InternalError),
        (DeadlineExceeded, DeadlineExceeded),
    ],
)
async def test_an_error_keeps_its_kind(
    serve: Any, executors: Any, raised: type[OnegateError], told: type[OnegateError]
) -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise raised("expected 1, got 2")

    runtime = InlineExecutor(FunctionRuntime(refuse), on_loop=True)
    executor = await executors((await serve(dispatcher_of(entry(), executor=runtime))).address)
    with pytest.raises(OnegateError, match=r"expected 1, got 2$") as refused:
        await run(executor)
    assert type(refused.value) is told
    assert "127.0.0.1" not in refused.value.message


async def test_when_to_come_again_is_what_the_server_says(serve: Any, executors: Any) -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise Overloaded("busy", retry_after_s=6.2)

    runtime = InlineExecutor(FunctionRuntime(refuse), on_loop=True)
    executor = await executors((await serve(dispatcher_of(entry(), executor=runtime))).address)
    with pytest.raises(Overloaded, match=r"busy$") as refused:
        await run(executor)
    assert refused.value.details["retry_after_s"] == 7


async def test_the_deadline_is_handed_on_and_kept(serve: Any, executors: Any) -> None:
    gate = GatedExecutor()
    server = await serve(dispatcher_of(entry(), executor=gate))
    executor = await executors(server.address)
    with pytest.raises(DeadlineExceeded):
        await run(executor, within_s=0.1)
    statistics = server.dispatcher.loaded["double", 1].statistics
    await eventually(lambda: statistics.cancelled.count + statistics.fail.count == 1)
    assert executor.slots == 64


async def test_a_client_that_gives_up_ends_the_work_there(serve: Any, executors: Any) -> None:
    gate = GatedExecutor()
    server = await serve(dispatcher_of(entry(), executor=gate))
    executor = await executors(server.address)
    batch = asyncio.ensure_future(run(executor))
    await eventually(lambda: gate.started == 1)
    batch.cancel()
    statistics = server.dispatcher.loaded["double", 1].statistics
    await eventually(lambda: statistics.cancelled.count == 1)
    with pytest.raises(asyncio.CancelledError):
        await batch


async def test_outputs_other_than_those_of_the_version_are_a_defect(serve: Any, executors: Any) -> None:
    version = version_of((await serve()).address)
    outputs = (TensorSpec("z", "FP32", (-1, 2)),)
    signatures = {"serving_default": Signature(version.manifest.signatures["serving_default"].inputs, outputs)}
    version = msgspec.structs.replace(
        version, manifest=msgspec.structs.replace(version.manifest, signatures=signatures)
    )
    with pytest.raises(InternalError, match=r"^expected the outputs z FP32 of the upstream server; got y FP32$"):
        await run(await executors(entry=version))


# -- a server that hangs ---------------------------------------------------------------------------------------------


async def test_a_server_that_says_nothing_any_more_loses_its_calls_to_the_other(
    serve: Any, executors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_module, "PROBE_TIMEOUT_S", 0.1)
    silent = threading.Event()
    hanging = await asyncio.to_thread(_HangingServer, silent)
    executor = await executors(hanging.address)
    assert executor.slots == 64
    silent.set()
    batch = asyncio.ensure_future(run(executor, within_s=60))
    await eventually(lambda: executor._usable[0].in_flight == 1)
    async with asyncio.timeout(10):
        while executor.slots:
            await executor.reconnect()
    other = await serve()
    executor._clients |= UpstreamExecutor(version_of(other.address))._clients
    await executor.reconnect()
    assert (await batch)["y"].tolist() == DOUBLED
    await asyncio.to_thread(hanging.stop)


class _HangingServer:
    """A server in threads of its own, which say nothing once `silent` is set."""

    def __init__(self, silent: threading.Event) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._end = threading.Event()

        def ready(data: bytes, context: Any) -> bytes:
            if silent.is_set():
                self._end.wait(30)
            return messages.ModelReadyResponse(ready=True).SerializeToString()  # type: ignore[no-any-return]

        def infer(data: bytes, context: Any) -> bytes:
            self._end.wait(30)
            return b""

        methods = {
            "ModelReady": grpc.unary_unary_rpc_method_handler(ready),
            "ModelInfer": grpc.unary_unary_rpc_method_handler(infer),
        }
        self._server = grpc.server(ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(messages.SERVICE, methods)])
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._end.set()
        self._server.stop(0).wait()


# -- TLS and keys ----------------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority of one test, which signs for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
        certificate = self._signed(self._name, self._key.public_key(), authority=True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _signed(self, name: x509.Name, key: Any, *, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )

    def issue(self, name: str) -> tuple[Path, Path]:
        """Files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate, private = self._folder / f"{name}.pem", self._folder / f"{name}-key.pem"
        signed = self._signed(subject, key.public_key(), authority=False)
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, private


class SecureServer:
    """grpcio's server with TLS that asks for a certificate; it doubles, and keeps the metadata of its calls."""

    def __init__(self, authority: Authority) -> None:
        from concurrent.futures import ThreadPoolExecutor

        certificate, key = authority.issue("server")
        self.seen: list[dict[str, str]] = []
        credentials = grpc.ssl_server_credentials(
            [(key.read_bytes(), certificate.read_bytes())], authority.file.read_bytes(), require_client_auth=True
        )
        answers = {
            "ModelReady": messages.ModelReadyResponse(ready=True),
            "ModelInfer": self._doubled(),
        }
        self._server = grpc.server(ThreadPoolExecutor(2))
        methods = {name: grpc.unary_unary_rpc_method_handler(self._saying(answer)) for name, answer in answers.items()}
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(messages.SERVICE, methods)])
        self.address = f"127.0.0.1:{self._server.add_secure_port('127.0.0.1:0', credentials)}"
        self._server.start()

    def _doubled(self) -> Any:
        answer = messages.ModelInferResponse(model_name="double", raw_output_contents=[np.float32([3, -4]).tobytes()])
        answer.outputs.add(name="y", datatype="FP32", shape=[1, 2])
        return answer

    def _saying(self, answer: Any) -> Callable[[bytes, Any], bytes]:
        def say(data: bytes, context: Any) -> bytes:
            self.seen.append({key: str(value) for key, value in context.invocation_metadata()})
            return answer.SerializeToString()  # type: ignore[no-any-return]

        return say

    def stop(self) -> None:
        self._server.stop(0).wait()


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[Authority, SecureServer]]:
    authority = Authority(tmp_path)
    server = SecureServer(authority)
    yield authority, server
    server.stop()


async def test_mutual_tls_and_a_key_from_a_file(secure: Any, executors: Any, tmp_path: Path) -> None:
    authority, server = secure
    certificate, private_key = authority.issue("gateway")
    (tmp_path / "key").write_text("s3cret\n")
    options = {"ca": authority.file, "certificate": certificate, "private_key": private_key}
    options |= {"api_key_file": tmp_path / "key"}
    version = version_of(server.address, scheme="grpcs", **{key: str(path) for key, path in options.items()})
    executor = await executors(entry=version)
    assert (await run(executor))["y"].tolist() == DOUBLED
    assert {seen["authorization"] for seen in server.seen} == {"Bearer s3cret"}
    assert b"s3cret" not in msgspec.msgpack.encode(version)


async def test_without_a_certificate_the_server_does_not_answer(secure: Any, executors: Any) -> None:
    authority, server = secure
    executor = await executors(entry=version_of(server.address, scheme="grpcs", ca=str(authority.file)))
    assert (executor.slots, server.seen) == (0, [])


async def test_a_server_that_another_authority_vouches_for_is_not_used(
    secure: Any, executors: Any, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    certificate, private_key = secure[0].issue("gateway")
    options = {"ca": other.file, "certificate": certificate, "private_key": private_key}
    version = version_of(secure[1].address, scheme="grpcs", **{key: str(path) for key, path in options.items()})
    assert ((await executors(entry=version)).slots, secure[1].seen) == (0, [])


def test_a_key_of_the_environment_is_sent_in_the_header_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_KEY", "s3cret")
    options = UpstreamOptions(api_key_env="TRITON_KEY", api_key_header="x-api-key")
    assert call_metadata(options) == (("x-api-key", "s3cret"),)
    monkeypatch.setenv("TRITON_KEY", "")
    with pytest.raises(Forbidden, match=r"^upstream: the file or environment variable of the API key is empty"):
        call_metadata(options)


def test_a_key_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(Forbidden, match=r"^upstream\.api_key_file: '.*/none' can't be read"):
        call_metadata(UpstreamOptions(api_key_file=str(tmp_path / "none")))


# -- versions --------------------------------------------------------------------------------------------------------


def config(source: str, **upstream: Any) -> ModelConfig:
    return ModelConfig.model_validate({"name": "m", "source": source, "serve": {"upstream": upstream}})


async def test_a_url_becomes_a_version_once(serve: Any, tmp_path: Path) -> None:
    server = await serve()
    store = Store.open(str(tmp_path / "store"))
    model = config(f"grpc://{server.address}/double")
    told: list[str] = []
    before = await asyncio.to_thread(stored_version, store, model, model.wanted_versions()[0], [])
    prepared = [await asyncio.to_thread(prepare_model, store, model, [], {}, told.append) for _ in range(2)]
    (first,), (second,) = prepared
    assert (before, first.entry.manifest, told[0]) == (None, second.entry.manifest, f"asking {server.address}")
    manifest = first.entry.manifest
    assert (manifest.version, manifest.framework, manifest.runtime, manifest.files) == (1, "upstream", "upstream", {})
    assert manifest.signatures == entry().manifest.signatures
    assert manifest.row_independent is False
    assert first.entry.serve.executor == "upstream"
    assert await asyncio.to_thread(stored_version, store, model, model.wanted_versions()[0], []) == manifest


async def test_another_signature_or_merging_is_another_version(serve: Any, tmp_path: Path) -> None:
    server = await serve()
    store = Store.open(str(tmp_path / "store"))
    source = f"grpc://{server.address}/double"

    async def number(**upstream: Any) -> tuple[int, bool]:
        (wanted,) = await asyncio.to_thread(prepare_model, store, config(source, **upstream), [], {}, lambda _: None)
        return wanted.entry.manifest.version, wanted.entry.manifest.row_independent

    first, merging = await number(), await number(merge=True)
    other = dispatcher_of(entry(outputs=(TensorSpec("z", "FP64", (-1, 2)),)))
    server.dispatcher.router, server.dispatcher.loaded = other.router, other.loaded
    assert (first, merging, await number()) == ((1, False), (2, True), (3, False))


async def test_while_the_server_is_away_the_version_that_it_told_of_stays(serve: Any, tmp_path: Path) -> None:
    server = await serve()
    store = Store.open(str(tmp_path / "store"))
    model = config(f"grpc://{server.address}/double")
    (before,) = await asyncio.to_thread(prepare_model, store, model, [], {}, lambda _: None)
    await server.stop()
    told: list[str] = []
    (after,) = await asyncio.to_thread(prepare_model, store, model, [], {}, told.append)
    assert after == before
    assert told[-1].endswith("; going on with version 1")


async def test_a_server_that_was_never_there_is_told_with_its_address(tmp_path: Path, free_port: int) -> None:
    store = Store.open(str(tmp_path / "store"))
    model = config(f"grpc://127.0.0.1:{free_port}/double")
    with pytest.raises(SourceError, match=rf"no upstream address tells of model 'double': 127\.0\.0\.1:{free_port}: "):
        await asyncio.to_thread(prepare_model, store, model, [], {}, lambda _: None)
    assert store.versions("m") == []


def test_an_upstream_is_no_archive() -> None:
    assert archive_manifest("grpc://a:1/m", []) is None


async def test_a_gateway_routes_between_a_version_here_and_one_there(serve: Any, tmp_path: Path) -> None:
    there = await serve(
        dispatcher_of(
            entry(),
            executor=InlineExecutor(FunctionRuntime(lambda inputs: {"y": inputs["x"] * 10}), on_loop=True),
        )
    )
    here = dispatcher_of(entry())
    loader = VersionLoader(here, tmp_path, "here", "secret")
    elsewhere = version_of(there.address)
    elsewhere = msgspec.structs.replace(elsewhere, manifest=msgspec.structs.replace(elsewhere.manifest, version=2))
    loader.states["double", 1] = "ready"
    table = RoutingTable(2, "./store", (entry(), elsewhere), {"double": ModelRoute(((1, 100),), {"canary": 2})})
    loader.follow(table)
    await eventually(lambda: loader.states == {("double", 1): "ready", ("double", 2): "ready"})

    async def ask(label: str | None) -> list[list[float]]:
        response = await here.infer(InferenceRequest("double", label=label, inputs=FLOATS))
        assert response.outputs is not None
        return response.outputs["y"].tolist()  # type: ignore[no-any-return]

    assert (await ask(None), await ask("canary")) == (DOUBLED, [[15, -20]])
    loader.follow(msgspec.structs.replace(table, number=3, versions=(entry(),), routes={}))
    await eventually(lambda: loader.states == {("double", 1): "ready"})


async def test_requests_are_merged_only_where_the_config_says_so(serve: Any, tmp_path: Path) -> None:
    rows: list[list[int]] = []
    for merge in (False, True):
        runtime = FunctionRuntime(double)
        there = await serve(dispatcher_of(entry(), executor=InlineExecutor(runtime, on_loop=True)))
        version = version_of(there.address, max_concurrent=1)
        manifest = msgspec.structs.replace(version.manifest, row_independent=merge)
        here = Dispatcher(Router())
        loader = VersionLoader(here, tmp_path, "here", "secret")
        loader.follow(
            RoutingTable(
                1, "", (msgspec.structs.replace(version, manifest=manifest),), {"double": ModelRoute(((1, 100),))}
            )
        )
        await eventually(lambda loader=loader: loader.states == {("double", 1): "ready"})
        requests = [InferenceRequest("double", inputs=FLOATS) for _ in range(6)]
        answers = await asyncio.gather(*map(here.infer, requests))
        assert [answer.outputs["y"].tolist() for answer in answers] == [DOUBLED] * 6  # type: ignore[index]
        rows.append(runtime.batches)
        loader.follow(RoutingTable(2, ""))
        await eventually(lambda loader=loader: loader.states == {})
    assert rows == [[1] * 6, [6]]


def test_contradictions_of_an_upstream_are_told(tmp_path: Path) -> None:
    serve = {"executor": "replicas", "upstream": {"private_key": "k.pem", "api_key_file": "a", "api_key_env": "B"}}
    document = {"models": [{"name": "m", "source": "grpc://a:1/m", "serve": serve}]}
    with pytest.raises(OnegateError) as refused:
        config_of(document, "test")
    for part in (
        "models[0].serve.executor: the model runs on another server (grpc://a:1/m); expected 'auto'",
        "models[0].serve.upstream.private_key: is the key of a `certificate`, which is missing",
        "'api_key_file' and 'api_key_env' exclude each other; keep one",
    ):
        assert part in refused.value.message
