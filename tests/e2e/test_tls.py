"""A gateway whose ports speak TLS: started, asked, renewed and ended as a user does."""

from __future__ import annotations

import json
import shlex
import shutil
import ssl
import subprocess
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import yaml

from serve.dialects.open_inference_grpc import decode_response, encode_request
from serve.protocols import open_inference
from tests.e2e.models import write_multiplier
from tests.e2e.running import ONEGATE, Running, get, running
from tests.serve.certificates import Issued, authority, issued, trusting

X = np.array([[1.5, -2]], np.float32)
DOUBLED = {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [3, -4]}
ORIGIN = "https://shop.example"
RENEWED_S = 30.0


class Secured:
    """A gateway, its CA, and its folder."""

    def __init__(self, gateway: Running, ca: Issued) -> None:
        self.gateway, self.ca = gateway, ca


def files(client_ca: bool) -> dict[str, Any]:
    """As the config has them, from its own folder on."""
    own = {"certificate": "tls/server.pem", "private_key": "tls/server-key.pem"}
    return own | {"client_ca": "tls/ca.pem"} if client_ca else own


def prepared(folder: Path, *, mutual: bool) -> tuple[dict[str, Any], Issued]:
    """A config, and the CA of the files that it names."""
    write_multiplier(folder / "double.onnx", 2)
    np.savez(folder / "x.npz", x=X)
    (folder / "tls").mkdir()
    ca = authority(folder / "tls")
    issued(folder / "tls", "server", ca)
    issued(folder / "tls", "client", ca, client=True)
    gateway = {"tls": files(mutual), "management_tls": files(mutual), "cors_origins": [ORIGIN]}
    model = {"name": "double", "source": "double.onnx", "examples": "x.npz"}
    return {"store": "store", "gateway": gateway, "models": [model]}, ca


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    config, ca = prepared(folder, mutual=False)
    with running(folder, config, tls=trusting(ca), environment={"ONEGATE_CA": str(ca.path)}) as gateway:
        gateway.wait_until_settled()
        yield Secured(gateway, ca)


def grpc_answer(address: str, credentials: grpc.ChannelCredentials) -> list[float]:
    with grpc.secure_channel(address, credentials) as channel:
        infer = channel.unary_unary(
            f"/{open_inference.SERVICE}/ModelInfer",
            response_deserializer=open_inference.ModelInferResponse.FromString,
        )
        answer = infer(encode_request("double", 1, {"x": X}).SerializeToString(), timeout=20)
    values: list[float] = decode_response(answer)["y"].ravel().tolist()
    return values


def test_addresses_begin_with_https(secured: Secured) -> None:
    gateway = secured.gateway
    status = json.loads(gateway.command("status", "--json").stdout)
    assert status["gateway"] == {"http": gateway.url, "grpc": gateway.grpc, "management": gateway.management}
    assert gateway.url.startswith("https://")
    assert gateway.management.startswith("https://")
    assert f"Management at {gateway.management}." in gateway.log.read_text()


def test_the_printed_curl_line_is_answered(secured: Secured) -> None:
    [line] = [line for line in secured.gateway.log.read_text().splitlines() if line.startswith("curl ")]
    done = subprocess.run(shlex.split(line), capture_output=True, timeout=30, check=True)
    assert json.loads(done.stdout)["outputs"] == [DOUBLED]


def test_infer_asks_over_https(secured: Secured) -> None:
    done = secured.gateway.command("infer", "double", "--input", "x.npz", "--json")
    assert json.loads(done.stdout) == {"model": "double", "version": "1", "outputs": [DOUBLED]}, done.stderr


def test_grpc_s_client_is_answered(secured: Secured) -> None:
    credentials = grpc.ssl_channel_credentials(secured.ca.path.read_bytes())
    assert grpc_answer(secured.gateway.grpc, credentials) == [3, -4]


def test_a_page_of_a_listed_origin_may_call(secured: Secured) -> None:
    words = ["curl", "-si", "--cacert", str(secured.ca.path), "-H", f"origin: {ORIGIN}"]
    asks = ["-X", "OPTIONS", "-H", "access-control-request-method: POST"]
    url = f"{secured.gateway.url}/v2/models/double/infer"
    done = subprocess.run([*words, *asks, url], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("HTTP/1.1 204 ")
    assert f"access-control-allow-origin: {ORIGIN}\n" in done.stdout
    answered = subprocess.run([*words, f"{secured.gateway.url}/v2"], capture_output=True, text=True, check=True)
    assert f"access-control-allow-origin: {ORIGIN}\n" in answered.stdout


def test_apply_goes_to_the_management_port_and_trusts_the_certificate_that_the_config_names(secured: Secured) -> None:
    gateway = secured.gateway
    untold = {
        key: value for key, value in gateway.environment.items() if key not in ("ONEGATE_MANAGEMENT", "ONEGATE_CA")
    }
    words = [gateway.onegate, "apply", "onegate.yaml"]
    done = subprocess.run(words, cwd=gateway.folder, env=untold, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_renewed_certificates_are_taken_over(secured: Secured, tmp_path: Path) -> None:
    gateway, ca = secured.gateway, secured.ca
    new = issued(tmp_path, "server", ca)
    ports = [gateway.config["gateway"][f"{name}_port"] for name in ("http", "grpc", "management")]
    number = f"{new.certificate.serial_number:X}"
    assert number not in [serial(port, ca) for port in ports]
    shutil.copy(new.path, gateway.folder / "tls/server.pem")
    shutil.copy(new.key_path, gateway.folder / "tls/server-key.pem")
    end = time.monotonic() + RENEWED_S
    while [serial(port, ca) for port in ports] != [number] * 3:
        assert time.monotonic() < end, gateway.log.read_text()
        time.sleep(0.2)
    assert gateway.state()["models"][0]["state"] == "READY"


def test_it_ends_when_it_is_told_to(secured: Secured) -> None:
    done = secured.gateway.command("down")
    assert done.returncode == 0, done.stderr
    assert secured.gateway.process.wait(30) == 0
    assert "Traceback" not in secured.gateway.log.read_text()


def test_mutual_tls_lets_in_clients_of_the_ca_alone(tmp_path: Path) -> None:
    config, ca = prepared(tmp_path, mutual=True)
    own = tmp_path / "tls/client.pem", tmp_path / "tls/client-key.pem"
    context = trusting(ca)
    context.load_cert_chain(*own)
    own_files = {"ONEGATE_CLIENT_CERTIFICATE": str(own[0]), "ONEGATE_CLIENT_KEY": str(own[1])}
    environment = {"ONEGATE_CA": str(ca.path), **own_files}
    with running(tmp_path, config, tls=context, environment=environment) as gateway:
        gateway.wait_until_settled()
        done = gateway.command("infer", "double", "--input", "x.npz", "--json")
        assert json.loads(done.stdout) == {"model": "double", "version": "1", "outputs": [DOUBLED]}, done.stderr
        chain = own[1].read_bytes(), own[0].read_bytes()
        assert grpc_answer(gateway.grpc, grpc.ssl_channel_credentials(ca.path.read_bytes(), *chain)) == [3, -4]
        for url in (gateway.url, gateway.management):
            with pytest.raises((ssl.SSLError, urllib.error.URLError, ConnectionError)):
                get(f"{url}/v2", tls=trusting(ca))
        with pytest.raises(grpc.RpcError) as refused:
            grpc_answer(gateway.grpc, grpc.ssl_channel_credentials(ca.path.read_bytes()))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert gateway.stop() == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"tls": {"private_key": "tls/client-key.pem"}},
            "gateway.tls.private_key: '{0}/tls/client-key.pem' is not the key",
        ),
        (
            {"management_tls": {"certificate": "tls/no.pem"}},
            "gateway.management_tls.certificate: '{0}/tls/no.pem' can't",
        ),
        ({}, "gateway.management_tls.client_ca: `onegate up` asks this port as well"),
    ],
)
def test_files_that_are_no_use_end_up_at_once(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    config, _ = prepared(tmp_path, mutual=True)
    for section, keys in changes.items():
        config["gateway"][section] |= keys
    (tmp_path / "onegate.yaml").write_text(yaml.safe_dump(config))
    done = subprocess.run([ONEGATE, "up", "onegate.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"onegate: {told.format(tmp_path)}")
    assert len(done.stderr.splitlines()) == 1


def serial(port: int, ca: Issued) -> str:
    """The number of the certificate that a port shows."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), ca_certs=str(ca.path), timeout=10)
    from cryptography import x509

    return f"{x509.load_pem_x509_certificate(pem.encode()).serial_number:X}"
