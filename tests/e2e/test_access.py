"""Keys on a running gateway: made, rotated and revoked while it serves, as clients of every kind bring them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from tritonclient.utils import InferenceServerException

from tests.e2e.running import Running, get, running
from tests.serve.administered import export
from tests.serve.waiting import before_long

X = np.ones((1, 2), np.float32)
SIGNER = ec.generate_private_key(ec.SECP256R1())
BODY = b"[[1, 2]]"
HEARD_S = 15.0
"""How long a change of keys may take at most until it counts; it is about 2 s."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("access")
    public = {**ECAlgorithm.to_jwk(SIGNER.public_key(), as_dict=True), "kid": "e"}
    (folder / "jwks.json").write_text(json.dumps({"keys": [public]}))
    models = [{"name": name, "source": str(export(folder / f"{name}.onnx", 2))} for name in ("mine", "other")]
    config: dict[str, Any] = {
        "store": "store",
        "gateway": {"management_on_endpoint": True, "management_host": "0.0.0.0"},
        "access": {
            "anonymous": [],
            "jwt": {"jwks_file": "jwks.json", "issuer": "https://id.example", "audience": "onegate"},
            "audit_log": "audit.jsonl",
        },
        "models": models,
    }
    with running(folder, config) as gateway:
        # It has no key itself.
        gateway.wait_until_greeted()
        yield gateway


def make(gateway: Running, name: str, *words: str) -> str:
    """A new key, once the gateway and the management port have heard of it."""
    result = gateway.command("keys", "create", name, *words, "--store", "store")
    assert result.returncode == 0, result.stderr
    key = result.stdout.strip()
    until_heard(gateway, key)
    return key


def until_heard(gateway: Running, key: str) -> None:
    assert before_long(lambda: get(f"{gateway.url}/v2/health/live", headers=bearer(key))[0] == 200, HEARD_S)
    assert before_long(lambda: get(f"{gateway.management}/openapi.json", headers=bearer(key))[0] == 200, HEARD_S)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def status(gateway: Running, path: str, key: str | None, body: bytes | None = None) -> int:
    return get(f"{gateway.url}{path}", body, bearer(key) if key else None)[0]


def audited(gateway: Running) -> list[tuple[str, str, list[str], str]]:
    lines = [json.loads(line) for line in (gateway.folder / "audit.jsonl").read_text().splitlines()]
    return [(line["caller"], line["what"], line["models"], line["outcome"]) for line in lines]


def test_without_a_key_only_health_is_answered(gateway: Running) -> None:
    assert status(gateway, "/v2/health/ready", None) == 200
    assert status(gateway, "/ping", None) == 200
    assert status(gateway, "/predict/mine", None, BODY) == 401
    assert status(gateway, "/v2/models/mine", None) == 401
    assert status(gateway, "/v2/repository/index", None, b"") == 401
    assert get(f"{gateway.management}/api/state")[0] == 401
    assert gateway.command("status").returncode == 1


def test_a_key_for_one_model_calls_that_one(gateway: Running) -> None:
    key = make(gateway, "shop", "--scope", "infer:mine")

    assert get(f"{gateway.url}/predict/mine", BODY, bearer(key))[0] == 200
    assert get(f"{gateway.url}/predict/mine", BODY, {"X-API-Key": key})[0] == 200
    assert status(gateway, "/predict/other", key, BODY) == 403
    assert status(gateway, "/v2/models/mine", key) == 200
    assert status(gateway, "/v2/models/other", key) == 403
    assert get(f"{gateway.management}/api/state", headers=bearer(key))[0] == 403


def test_triton_s_clients_bring_a_key_as_a_header_and_as_metadata(gateway: Running) -> None:
    key = make(gateway, "triton", "--scope", "infer")
    headers = bearer(key)
    for library, address, name in (
        (tritonclient.http, gateway.url.removeprefix("http://"), "Authorization"),
        (tritonclient.grpc, gateway.grpc, "authorization"),
    ):
        sent = library.InferInput("x", X.shape, "FP32")
        sent.set_data_from_numpy(X)
        with library.InferenceServerClient(address) as client:
            assert client.is_server_live()
            with pytest.raises(InferenceServerException, match="the call needs a key with the scope infer"):
                client.infer("mine", [sent])
            found = client.infer("mine", [sent], headers={name: headers["Authorization"]})
            assert found.as_numpy("y").tolist() == [[2.0, 2.0]]


def test_a_rotated_key_and_a_revoked_one_count_without_a_restart(gateway: Running) -> None:
    old = make(gateway, "rotated", "--scope", "infer")
    result = gateway.command("keys", "rotate", "rotated", "--grace", "1h", "--store", "store", "--json")
    new = json.loads(result.stdout)["key"]
    until_heard(gateway, new)

    assert [status(gateway, "/predict/mine", key, BODY) for key in (old, new)] == [200, 200]
    assert gateway.command("keys", "revoke", json.loads(result.stdout)["id"], "--store", "store").returncode == 0
    assert before_long(lambda: status(gateway, "/predict/mine", new, BODY) == 401, HEARD_S)
    assert status(gateway, "/predict/mine", old, BODY) == 200
    assert gateway.command("keys", "revoke", "rotated", "--store", "store").returncode == 0
    assert before_long(lambda: status(gateway, "/predict/mine", old, BODY) == 401, HEARD_S)


def test_commands_bring_a_key(gateway: Running) -> None:
    key = make(gateway, "ops", "--scope", "manage", "--scope", "infer")
    (gateway.folder / "x.json").write_text("[[1, 2]]")

    result = gateway.command("status", "--json", "--key", key)
    assert {row["name"] for row in json.loads(result.stdout)["models"]} == {"mine", "other"}
    assert gateway.command("infer", "mine", "--input", "x.json", "--key", key).returncode == 0
    gateway.environment["ONEGATE_KEY"] = key
    try:
        assert gateway.command("apply", "onegate.yaml").returncode == 0
    finally:
        del gateway.environment["ONEGATE_KEY"]
    assert ("key:ops", "apply", ["mine", "other"], "done") in audited(gateway)


def test_management_calls_are_noted_with_who_made_them(gateway: Running) -> None:
    key = make(gateway, "loader", "--scope", "manage")

    assert status(gateway, "/v2/repository/models/other/unload", key, b"") == 200
    assert status(gateway, "/v2/repository/models/other/load", key, b"") == 200
    assert get(f"{gateway.management}/v2/repository/models/absent/unload", b"", bearer(key))[0] == 400
    assert [line for line in audited(gateway) if line[0] == "key:loader"][:2] == [
        ("key:loader", "UnloadModel", ["other"], "done"),
        ("key:loader", "LoadModel", ["other"], "done"),
    ]


def test_a_token_counts_as_its_scopes(gateway: Running) -> None:
    claims = {"iss": "https://id.example", "aud": "onegate", "sub": "ann", "exp": time.time() + 60}
    token = jwt.encode(claims | {"scope": "openid infer:mine"}, SIGNER, "ES256", headers={"kid": "e"})

    assert status(gateway, "/predict/mine", token, BODY) == 200
    assert status(gateway, "/predict/other", token, BODY) == 403
    assert status(gateway, "/predict/mine", token[:-4] + "AAAA", BODY) == 401


def test_a_rate_is_kept_to(gateway: Running) -> None:
    key = make(gateway, "slow", "--scope", "infer", "--rate", "0.01")

    assert [status(gateway, "/predict/mine", key, BODY) for _ in range(3)] == [200, 429, 429]


def test_no_secret_is_in_logs_or_in_what_is_told(gateway: Running) -> None:
    key = make(gateway, "quiet", "--scope", "view")
    secret = key.split("_", 2)[2]
    status(gateway, "/predict/mine", key[:-1], BODY)
    told = get(f"{gateway.management}/api/state", headers=bearer(key))[1].decode()
    files = [gateway.log, *(gateway.folder / "store" / "access").iterdir(), gateway.folder / "audit.jsonl"]

    for text in (told, *(file.read_text() for file in files)):
        assert secret[:-1] not in text


def test_a_gateway_that_comes_back_knows_the_keys_at_once(gateway: Running) -> None:
    key = make(gateway, "steady", "--scope", "infer")
    before = {process.pid for process in gateway.serve_processes("onegate", "Gateway")}
    for process in gateway.serve_processes("onegate", "Gateway"):
        process.kill()

    seen: set[int] = set()

    def back() -> bool:
        try:
            seen.add(status(gateway, "/predict/mine", key, BODY))
        except OSError:
            return False
        return 200 in seen and not {process.pid for process in gateway.serve_processes("onegate", "Gateway")} & before

    end = time.monotonic() + 60
    while not back():
        assert time.monotonic() < end, seen
        time.sleep(0.05)
    assert seen == {200}


def test_down_needs_a_key_that_manages(gateway: Running) -> None:
    key = make(gateway, "end", "--scope", "manage")

    assert gateway.command("down").returncode == 1
    assert gateway.process.poll() is None
    assert gateway.command("down", "--key", key).returncode == 0
    assert gateway.process.wait(60) == 0
    assert audited(gateway)[-1] == ("key:end", "shutdown", [], "done")
