"""Ports that are free, held by somebody, or by the gateway that runs."""

from __future__ import annotations

import os
import socket

import psutil
import pytest

from serve.config import Config
from serve.doctor.ports import check_ports
from tests.e2e.running import free_ports


@pytest.fixture
def config() -> Config:
    ports = dict(zip(("http_port", "grpc_port", "management_port"), free_ports(3), strict=True))
    return Config.model_validate({"gateway": ports, "models": []})


def test_an_occupied_port_is_a_problem_with_its_holder(config: Config) -> None:
    port = config.gateway.grpc_port
    with socket.create_server(("127.0.0.1", port)):
        http, grpc, management = check_ports(config)
    assert (http.level, management.level) == ("ok", "ok")
    holder = f"{psutil.Process().name()} (process {os.getpid()})"
    assert grpc.level == "problem"
    assert grpc.text == f"127.0.0.1:{port} (gateway.grpc_port) is held by {holder}"
    assert grpc.advice == "end it, or set another gateway.grpc_port"


def test_a_port_of_the_running_gateway_is_no_problem(config: Config) -> None:
    port = config.gateway.http_port
    with socket.create_server(("127.0.0.1", port)):
        found = list(check_ports(config, {port}))
    assert [finding.level for finding in found] == ["ok", "ok", "ok"]
    assert found[0].text == f"127.0.0.1:{port} (gateway.http_port) belongs to the running gateway"


def test_an_address_of_another_machine_is_a_problem(config: Config) -> None:
    # Of TEST-NET-1, that nobody has.
    gateway = config.gateway.model_copy(update={"host": "192.0.2.1"})
    http, _, management = check_ports(config.model_copy(update={"gateway": gateway}))
    assert (http.level, management.level) == ("problem", "ok")
    assert "can't be used" in http.text
