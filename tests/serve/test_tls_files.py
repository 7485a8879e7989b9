"""Files of a port with TLS: what is taken, and what each mistake is told as."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from model_store.errors import ConfigError
from serve.tls_files import ClientFiles, ServerFiles, client_context, server_context, shake_hands
from tests.serve.certificates import authority, issued, trusting


def test_good_files_make_a_context_of_tls_1_2_or_newer(tmp_path: Path) -> None:
    server = issued(tmp_path, "server", authority(tmp_path))
    context = server_context(server.server_files(), ("h2",))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE


def test_a_certificate_that_signed_itself_is_taken(tmp_path: Path) -> None:
    alone = authority(tmp_path)
    server_context(alone.server_files(), ())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    server = issued(tmp_path, "server", authority(tmp_path))
    missing = str(tmp_path / "no.pem")
    for files, key in (
        (ServerFiles("gateway.tls", missing, str(server.key_path)), "certificate"),
        (ServerFiles("gateway.tls", str(server.path), missing), "private_key"),
        (ServerFiles("gateway.tls", str(server.path), str(server.key_path), missing), "client_ca"),
    ):
        with pytest.raises(ConfigError) as refused:
            server_context(files, ())
        assert refused.value.message == f"gateway.tls.{key}: '{missing}' can't be read: No such file or directory"


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    server = issued(tmp_path, "server", authority(tmp_path))
    with pytest.raises(ConfigError, match=r"gateway\.tls\.certificate: .* can't be read: Is a directory"):
        server_context(ServerFiles("gateway.tls", str(tmp_path), str(server.key_path)), ())


def test_the_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    one, other = issued(tmp_path, "one", ca), issued(tmp_path, "other", ca)
    with pytest.raises(ConfigError) as refused:
        server_context(ServerFiles("gateway.tls", str(one.path), str(other.key_path)), ())
    assert refused.value.message == f"gateway.tls.private_key: '{other.key_path}' is not the key of '{one.path}'"


def test_what_is_no_pem_is_refused(tmp_path: Path) -> None:
    server = issued(tmp_path, "server", authority(tmp_path))
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("hello")
    with pytest.raises(ConfigError, match=r"gateway\.tls\.certificate: .* holds no certificate in PEM"):
        server_context(ServerFiles("gateway.tls", str(nonsense), str(server.key_path)), ())
    with pytest.raises(ConfigError, match=r"gateway\.tls\.private_key: .* holds no private key in PEM"):
        server_context(ServerFiles("gateway.tls", str(server.path), str(nonsense)), ())
    with pytest.raises(ConfigError, match=r"gateway\.tls\.client_ca: .* holds no certificate in PEM"):
        server_context(ServerFiles("gateway.tls", str(server.path), str(server.key_path), str(nonsense)), ())


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    server = issued(tmp_path, "server", authority(tmp_path), passphrase="secret")
    with pytest.raises(ConfigError, match=r"gateway\.tls\.private_key: .* wants a passphrase"):
        server_context(server.server_files(), ())


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    server = issued(tmp_path, "server", authority(tmp_path), days=-1)
    with pytest.raises(ConfigError) as refused:
        server_context(server.server_files(), ())
    assert refused.value.message == (
        f"gateway.tls.certificate: '{server.path}' would be refused by clients: certificate has expired"
    )


def test_a_certificate_that_is_for_clients_only_is_refused(tmp_path: Path) -> None:
    client = issued(tmp_path, "client", authority(tmp_path), client=True)
    with pytest.raises(ConfigError, match="would be refused by clients: unsuitable certificate purpose"):
        server_context(client.server_files(), ())


def test_clients_of_the_ca_alone_are_let_in(tmp_path: Path) -> None:
    ca, other = authority(tmp_path), authority(tmp_path, "other-ca")
    server = issued(tmp_path, "server", ca)
    own, stranger = (issued(tmp_path, name, by, client=True) for name, by in (("own", ca), ("stranger", other)))
    context = server_context(server.server_files(client_ca=ca), ())

    def client(who: ClientFiles) -> ssl.SSLContext:
        return client_context(who, "--client-certificate")

    pinned = str(server.path)
    shake_hands(context, client(ClientFiles(pinned, str(own.path), str(own.key_path), pinned=True)))
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake_hands(context, client(ClientFiles(pinned, pinned=True)))
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        shake_hands(context, client(ClientFiles(pinned, str(stranger.path), str(stranger.key_path), pinned=True)))


def test_a_ca_may_be_one_between_a_root_and_its_clients(tmp_path: Path) -> None:
    root = authority(tmp_path, "root")
    between = issued(tmp_path, "between", root, is_ca=True)
    server, client = issued(tmp_path, "server", root), issued(tmp_path, "client", between, client=True)
    shake_hands(server_context(server.server_files(client_ca=between), ()), trusting(root, client, named=False))


def test_a_client_of_another_ca_does_not_trust_the_server(tmp_path: Path) -> None:
    ca, other = authority(tmp_path), authority(tmp_path, "other-ca")
    context = server_context(issued(tmp_path, "server", ca).server_files(), ())
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, client_context(ClientFiles(str(other.path), pinned=True), "--ca"))


def test_of_a_pinned_chain_only_the_first_certificate_is_trusted(tmp_path: Path) -> None:
    root = authority(tmp_path, "root")
    between = issued(tmp_path, "between", root, is_ca=True)
    server, other = (issued(tmp_path, name, between) for name in ("server", "other"))
    chain = tmp_path / "chain.pem"
    chain.write_bytes(server.path.read_bytes() + between.path.read_bytes())
    pinned = ClientFiles(str(chain), pinned=True)

    shake_hands(server_context(server.server_files(), ()), client_context(pinned, "gateway.tls"))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server_context(other.server_files(), ()), client_context(pinned, "gateway.tls"))


def test_the_file_of_ca_is_named_by_its_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--ca: .no\.pem. can.t be read: No such file or directory"):
        client_context(ClientFiles("no.pem"), "--client-certificate")
