"""`up` makes sure that nobody listens on its ports."""

from __future__ import annotations

import socket

import pytest

from serve.launch.error import LaunchError
from serve.launch.ports import check_ports
from tests.serve.launch.gateways import config


def ports(host: str = "127.0.0.1") -> dict[str, int]:
    """Three ports that nobody listens on."""
    probes = [socket.socket() for _ in range(3)]
    for probe in probes:
        probe.bind((host, 0))
    numbers = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return dict(zip(("http_port", "grpc_port", "management_port"), numbers, strict=True))


def test_free_ports_are_fine_and_stay_free() -> None:
    checked = config(**ports())
    check_ports(checked)
    check_ports(checked)


@pytest.mark.parametrize("key", ["http_port", "grpc_port", "management_port"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_somebody_listens_on_is_named_with_its_key(key: str, shared: bool, host: str) -> None:
    numbers = ports()
    with socket.socket() as other:
        if shared:
            # As another gateway does: it would quietly share the requests.
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", numbers[key]))
        other.listen()
        with pytest.raises(LaunchError) as refused:
            check_ports(config(host=host, **numbers))
    shown = "127.0.0.1" if key == "management_port" else host
    assert refused.value.message == (
        f"gateway.{key}: {shown}:{numbers[key]} can't be used (Address already in use); "
        "end what listens there or set another port"
    )
    assert refused.value.details == {"port": numbers[key]}


def test_a_port_whose_last_connections_linger_is_fine() -> None:
    numbers = ports()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", numbers["http_port"]))
        listener.listen()
        client = socket.create_connection(("127.0.0.1", numbers["http_port"]))
        served, _ = listener.accept()
        # Whoever closes first keeps the address for a minute.
        served.close()
        client.close()
    check_ports(config(**numbers))


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(LaunchError, match=r"^gateway\.http_port: 192\.0\.2\.1:\d+ can't be used \(Cannot assign"):
        check_ports(config(host="192.0.2.1", **ports()))
