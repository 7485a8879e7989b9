"""The command line's calls of ports with TLS: whom they trust, with what they ask, and what is told otherwise."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from click.testing import CliRunner

from model_store.errors import ModelNotReady
from serve.cli import main
from serve.dialects.base import HttpReply, HttpRequest
from serve.front_doors.http_listener import HttpListener
from serve.front_doors.tls import HTTP, Tls
from serve.https_calls import unreachable
from serve.management_client import ManagementClient
from serve.tls_files import ClientFiles, client_context
from tests.serve.certificates import Issued, authority, issued
from tests.serve.front_doors.http_echo import Echo

STATE = {"gateway": {}, "models": []}


class States(Echo):
    """Answers as the management port does."""

    async def answer(self, request: HttpRequest) -> HttpReply:
        self.asked.append(request)
        return HttpReply(200, json.dumps(STATE).encode())


class Port:
    """A port with mutual TLS, and the certificates of its world."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.other = authority(folder), authority(folder, "other")
        self.server = issued(folder, "server", self.ca)
        self.own = issued(folder, "own", self.ca, client=True)
        self.application = States()
        self.url = ""

    def files(self, own: Issued | None = None) -> ClientFiles:
        if own is None:
            return ClientFiles(str(self.ca.path))
        return ClientFiles(str(self.ca.path), str(own.path), str(own.key_path))


@pytest.fixture
async def port(free_port: int, tmp_path: Path) -> AsyncIterator[Port]:
    port = Port(tmp_path)
    tls = Tls(port.server.server_files(client_ca=port.ca), HTTP)
    listener = HttpListener(port.application, "127.0.0.1", free_port, tls=tls)
    listener.start()
    port.url = f"https://127.0.0.1:{free_port}"
    yield port
    await listener.stop()


def call(host: str, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """A handshake in memory with a server that is called as `host`, until the client has seen its certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=host)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for end in (asking, answering, asking):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()


async def refusal(url: str, files: ClientFiles) -> str:
    with pytest.raises(ModelNotReady) as refused:
        await asyncio.to_thread(ManagementClient(url, tls=files).state)
    return refused.value.message


async def test_a_client_with_the_ca_and_a_certificate_is_answered(port: Port) -> None:
    client = ManagementClient(port.url, tls=port.files(port.own))
    assert await asyncio.to_thread(client.state) == STATE


async def test_the_port_s_own_certificate_may_be_pinned_whatever_its_names(port: Port) -> None:
    files = ClientFiles(str(port.server.path), str(port.own.path), str(port.own.key_path), pinned=True)
    client = ManagementClient(port.url.replace("127.0.0.1", "127.0.0.2"), tls=files)
    with pytest.raises(ModelNotReady, match="Connection refused"):
        await asyncio.to_thread(client.state)
    assert await asyncio.to_thread(ManagementClient(port.url, tls=files).state) == STATE


async def test_a_port_that_is_not_trusted_is_told_with_what_to_do(port: Port) -> None:
    message = await refusal(port.url, ClientFiles(str(port.other.path)))
    assert message == (
        f"the certificate of the gateway at {port.url} is not trusted "
        "(self-signed certificate in certificate chain); "
        "--ca FILE, or ONEGATE_CA, says who signed it"
    )
    assert port.application.asked == []


@pytest.mark.parametrize(
    ("made", "of", "host", "told"),
    [
        (
            "expired",
            {"days": -1},
            "127.0.0.1",
            "is not valid now (certificate has expired); the gateway needs another, if this machine's clock is right",
        ),
        (
            "early",
            {"begins_in_days": 1},
            "127.0.0.1",
            "is not valid now (certificate is not yet valid); the gateway needs another, if this machine's clock is "
            "right",
        ),
        (
            "other-address",
            {},
            "127.0.0.2",
            "is for other names (IP address mismatch, certificate is not valid for '127.0.0.2'.); call the gateway by "
            "a name or address that it has",
        ),
        (
            "other-name",
            {},
            "gateway.shop",
            "is for other names (Hostname mismatch, certificate is not valid for 'gateway.shop'.); call the "
            "gateway by a name or address that it has",
        ),
        ("other-use", {"client": True}, "127.0.0.1", "is not trusted (unsuitable certificate purpose)"),
    ],
)
def test_a_certificate_that_no_ca_mends_is_told_for_what_it_is(
    tmp_path: Path, made: str, of: dict[str, Any], host: str, told: str
) -> None:
    ca = authority(tmp_path)
    certificate = issued(tmp_path, made, ca, **of)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate.path, certificate.key_path)
    with pytest.raises(ssl.SSLCertVerificationError) as refused:
        call(host, server, client_context(ClientFiles(str(ca.path)), ""))

    error = unreachable("gateway", "https://it", URLError(refused.value), "")

    assert error.message == f"the certificate of the gateway at https://it {told}"


async def test_a_client_without_a_certificate_is_told_so(port: Port) -> None:
    message = await refusal(port.url, port.files())
    assert "CERTIFICATE_REQUIRED" in message
    assert "--client-certificate and --client-key" in message


async def test_http_to_a_port_with_tls_is_told_the_right_scheme(port: Port) -> None:
    with pytest.raises(Exception, match="this port speaks TLS: its address begins with https://"):
        await asyncio.to_thread(ManagementClient(port.url.replace("https", "http"), tls=port.files()).state)


async def test_a_command_takes_the_files_as_options_or_from_the_environment(port: Port) -> None:
    def run(*words: str, **environment: str) -> tuple[int, str]:
        told = CliRunner().invoke(main, ["status", "--json", "--management", port.url, *words], env=environment)
        return told.exit_code, told.output.strip()

    ca, own, key = str(port.ca.path), str(port.own.path), str(port.own.key_path)
    options = ("--ca", ca, "--client-certificate", own, "--client-key", key)
    assert await asyncio.to_thread(run, *options) == (0, json.dumps(STATE))
    variables = {"ONEGATE_CA": ca, "ONEGATE_CLIENT_CERTIFICATE": own, "ONEGATE_CLIENT_KEY": key}
    assert await asyncio.to_thread(run, **variables) == (0, json.dumps(STATE))
    code, told = await asyncio.to_thread(run, "--ca", ca, "--client-certificate", own)
    assert code == 2
    assert "--client-certificate and --client-key go together" in told
