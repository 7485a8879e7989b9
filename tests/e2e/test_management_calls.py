"""Management calls on a running gateway: the v2 repository with Triton's own client, on the port that takes them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput

from tests.e2e.running import Running, running
from tests.serve.administered import export

X = np.ones((1, 2), np.float32)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("management")
    source = export(folder / "two.onnx", 2)
    with running(folder, {"models": [{"name": "m", "source": str(source), "serve": {"deadline_ms": 4321}}]}) as gateway:
        gateway.wait_until_settled()
        yield gateway


@pytest.fixture
def management(gateway: Running) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(gateway.management.removeprefix("http://"), network_timeout=40) as client:
        yield client


@pytest.fixture
def endpoint(gateway: Running) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(gateway.url.removeprefix("http://"), network_timeout=40) as client:
        yield client


def answer(endpoint: InferenceServerClient, version: str = "") -> float:
    sent = InferInput("x", X.shape, "FP32")
    sent.set_data_from_numpy(X)
    found: float = endpoint.infer("m", [sent], version).as_numpy("y")[0, 0]
    return found


def index(client: InferenceServerClient) -> list[tuple[str, str, str]]:
    return [(each["name"], each["version"], each["state"]) for each in client.get_model_repository_index()]


def row(gateway: Running) -> dict[str, Any]:
    (found,) = gateway.rows("m")
    return found


def test_a_model_that_was_unloaded_comes_back_as_it_was(
    gateway: Running, management: InferenceServerClient, endpoint: InferenceServerClient
) -> None:
    assert index(management) == [("m", "1", "READY")]
    assert answer(endpoint) == 2
    management.unload_model("m")
    assert wait_for_index(management, [("m", "1", "UNAVAILABLE")])
    with pytest.raises(InferenceServerException, match="not served here"):
        answer(endpoint)
    management.load_model("m")
    assert answer(endpoint) == 2
    assert (row(gateway)["state"], row(gateway)["called"]) == ("READY", "1")


def wait_for_index(client: InferenceServerClient, expected: list[tuple[str, str, str]]) -> bool:
    """An unload returns before memory is free."""
    end = time.monotonic() + 10
    while index(client) != expected:
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_the_endpoint_takes_no_management_calls(endpoint: InferenceServerClient) -> None:
    for call in (endpoint.load_model, endpoint.unload_model):
        with pytest.raises(InferenceServerException) as caught:
            call("m")
        assert caught.value.status() == "403"
    with pytest.raises(InferenceServerException) as caught:
        endpoint.get_model_repository_index()
    assert caught.value.status() == "403"
    assert answer(endpoint) == 2


def test_a_load_that_fails_leaves_what_served(
    gateway: Running, management: InferenceServerClient, endpoint: InferenceServerClient
) -> None:
    broken = b"\x08\x07 this is no graph"
    with pytest.raises(InferenceServerException) as caught:
        management.load_model("m", config="{}", files={"file:1/model.onnx": broken})
    assert caught.value.status() == "400"
    with pytest.raises(InferenceServerException, match="max_batch_size"):
        management.load_model("m", config=json.dumps({"max_batch_size": -3}))
    assert index(management) == [("m", "1", "READY")]
    assert answer(endpoint) == 2


def test_a_load_brings_its_own_files(
    management: InferenceServerClient, endpoint: InferenceServerClient, tmp_path: Path
) -> None:
    content = export(tmp_path / "model.onnx", 3).read_bytes()
    management.load_model("m", config="{}", files={"file:5/model.onnx": content})
    assert (answer(endpoint), answer(endpoint, "5")) == (3, 3)
    assert wait_for_index(management, [("m", "5", "READY")])
