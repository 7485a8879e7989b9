"""Upstreams behind TLS, and the keys that are sent to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import numpy as np
import pytest

from model_store.errors import Forbidden
from serve.executors.upstream_client import call_metadata
from serve.protocols import open_inference as messages
from serve.routing import UpstreamOptions
from tests.serve.certificates import Issued, authority, issued
from tests.serve.upstreams.servers import DOUBLED, run, version_of


class SecureServer:
    """grpcio's server with TLS that asks for a certificate; it doubles, and keeps the metadata of its calls."""

    def __init__(self, folder: Path, ca: Issued) -> None:
        from concurrent.futures import ThreadPoolExecutor

        own = issued(folder, "server", ca)
        self.seen: list[dict[str, str]] = []
        credentials = grpc.ssl_server_credentials(
            [(own.key_path.read_bytes(), own.path.read_bytes())], ca.path.read_bytes(), require_client_auth=True
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
def secure(tmp_path: Path) -> Iterator[tuple[Issued, SecureServer]]:
    ca = authority(tmp_path)
    server = SecureServer(tmp_path, ca)
    yield ca, server
    server.stop()


async def test_mutual_tls_and_a_key_from_a_file(secure: Any, executors: Any, tmp_path: Path) -> None:
    ca, server = secure
    own = issued(tmp_path, "gateway", ca, client=True)
    (tmp_path / "key").write_text("s3cret\n")
    options = {"ca": ca.path, "certificate": own.path, "private_key": own.key_path}
    options |= {"api_key_file": tmp_path / "key"}
    version = version_of(server.address, scheme="grpcs", **{key: str(path) for key, path in options.items()})
    executor = await executors(entry=version)
    assert (await run(executor))["y"].tolist() == DOUBLED
    assert {seen["authorization"] for seen in server.seen} == {"Bearer s3cret"}
    assert b"s3cret" not in msgspec.msgpack.encode(version)


async def test_without_a_certificate_the_server_does_not_answer(secure: Any, executors: Any) -> None:
    ca, server = secure
    executor = await executors(entry=version_of(server.address, scheme="grpcs", ca=str(ca.path)))
    assert (executor.slots, server.seen) == (0, [])


async def test_a_server_that_another_authority_vouches_for_is_not_used(
    secure: Any, executors: Any, tmp_path: Path
) -> None:
    own = issued(tmp_path, "gateway", secure[0], client=True)
    options = {"ca": authority(tmp_path, "other").path, "certificate": own.path, "private_key": own.key_path}
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
