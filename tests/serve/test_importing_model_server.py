"""`config.properties` of TorchServe and MXNet Model Server, and model stores, as configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_store.errors import SourceError
from serve.importing import model_server
from serve.importing.properties import parse_properties
from serve.importing.servers import read_server
from tests.serve.importing_trees import served, told, write_text
from tests.sources.archives_writing import means_onnx, mms, torchserve, write_zip

HANDLER = "def handle(data, context):\n    return data\n"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three archives of TorchServe: two versions of `net`, and one with a handler of its own."""
    folder = tmp_path / "model-store"
    folder.mkdir()
    for version in ("1.0", "2.0"):
        write_zip(
            folder / f"net-{version}.mar",
            {**torchserve(modelVersion=version, serializedFile="net.onnx"), "net.onnx": means_onnx()},
        )
    write_zip(
        folder / "echo.mar",
        {**torchserve("echo.py", modelName="echo", configFile="m.yaml"), "echo.py": HANDLER, "m.yaml": "batchSize: 4"},
    )
    return folder


def write_config(folder: Path, **properties: Any) -> Path:
    lines = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in properties.items()]
    return write_text(folder / "config.properties", "\n".join(lines))


def test_properties_follow_javas_rules() -> None:
    text = "# no\n! no\n\na=1\n b : two words  \nc three\\\n   four\nd=\\u0041\\n\\:\ne\nf==\\\\\na=last"
    assert parse_properties(text) == {
        "a": "last",
        "b": "two words",
        "c": "threefour",
        "d": "A\n:",
        "e": "",
        "f": "=\\",
    }


def test_a_config_keeps_addresses_limits_and_what_it_loads(store: Path) -> None:
    write_config(
        store.parent,
        inference_address="http://0.0.0.0:9080",
        management_address="http://127.0.0.1:9081",
        grpc_inference_port="9070",
        model_store="/home/model-server/model-store",
        load_models="net=net-1.0.mar,other=net-2.0.mar",
        default_response_timeout="60",
        default_workers_per_model="2",
        job_queue_size="50",
        max_request_size="10485760",
        number_of_netty_threads="4",
    )
    imported = read_server(store.parent)
    assert imported.server == "TorchServe"
    assert imported.gateway == {
        "model_server": "torchserve",
        "model_folder": str(store),
        "host": "0.0.0.0",
        "http_port": 9080,
        "grpc_port": 9070,
        "management_port": 9081,
        "max_body_bytes": 10485760,
    }
    serve = {"replicas": 2, "batching": {"max_queue": 50}, "deadline_ms": 60000}
    assert served(imported) == {
        "net": {
            "name": "net",
            "versions": [{"source": str(store / "net-1.0.mar"), "as_version": "1.0"}],
            "serve": serve,
        },
        "other": {
            "name": "other",
            "versions": [{"source": str(store / "net-2.0.mar"), "as_version": "2.0"}],
            "serve": serve,
        },
    }
    assert told(imported) == [(None, "config.properties", "model_store")]


def test_a_snapshot_keeps_versions_default_and_batching(store: Path) -> None:
    version = {"minWorkers": 1, "maxWorkers": 4, "batchSize": 8, "maxBatchDelay": 50, "responseTimeout": 30}
    models = {
        "net": {
            "1.0": {"defaultVersion": True, "marName": "net-1.0.mar", **version},
            "2.0": {"defaultVersion": False, "marName": "net-2.0.mar", **version, "batchSize": 1},
        },
        "echo": {"1.0": {"defaultVersion": True, "marName": "echo.mar", **version, "deviceType": "gpu"}},
    }
    write_config(
        store.parent,
        model_store=str(store),
        load_models="all",
        model_snapshot={"name": "startup.cfg", "modelCount": 3, "models": models},
    )
    imported = read_server(store.parent / "config.properties")
    serve = {"batching": {"max_batch_size": 8, "max_delay_ms": 50}, "deadline_ms": 30000}
    assert served(imported) == {
        "net": {
            "name": "net",
            "versions": [
                {"source": str(store / "net-1.0.mar"), "as_version": "1.0", "traffic": 100},
                {"source": str(store / "net-2.0.mar"), "as_version": "2.0"},
            ],
            "serve": serve,
        },
        "echo": {
            "name": "echo",
            "versions": [{"source": str(store / "echo.mar"), "as_version": "1.0"}],
            "handler": {"batch_size": 8},
            "serve": serve,
        },
    }
    assert [(model, key) for model, _, key in told(imported)] == [
        ("net", "batchSize"),
        ("net", "maxWorkers"),
        ("echo", "deviceType"),
        ("echo", "handler"),
        ("echo", "maxWorkers"),
    ]


def test_models_describe_what_is_loaded_and_an_archives_own_config_goes_first(store: Path) -> None:
    write_config(
        store.parent,
        model_store="model-store",
        load_models="echo.mar",
        models={
            "echo": {"1.0": {"marName": "echo.mar", "batchSize": 2, "minWorkers": 3}},
            "net": {"1.0": {"marName": "net-1.0.mar"}},
        },
    )
    assert served(read_server(store.parent))["echo"]["serve"] == {
        "replicas": 3,
        "batching": {"max_batch_size": 4, "max_delay_ms": 100},
        "deadline_ms": 120000,
    }


@pytest.mark.parametrize("load_models", ["all", "ALL", None])
def test_every_archive_of_the_store_is_loaded(store: Path, load_models: str | None) -> None:
    wanted = {} if load_models is None else {"load_models": load_models}
    write_config(store.parent, model_store="model-store", **wanted)
    imported = read_server(store.parent)
    versions = {name: [each["as_version"] for each in model["versions"]] for name, model in served(imported).items()}
    assert versions == {"echo": ["1.0"], "net": ["1.0", "2.0"]}
    assert ((None, "config.properties", "load_models") in told(imported)) == (load_models is None)


def test_a_folder_of_mms_archives_is_mms(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "net.mar", {**mms("service.py:handle"), "service.py": HANDLER})
    imported = read_server(tmp_path)
    assert (imported.server, imported.gateway) == (
        "MXNet Model Server",
        {
            "model_server": "mms",
            "model_folder": str(tmp_path),
            "http_port": 8080,
            "grpc_port": 8082,
            "management_port": 8081,
        },
    )
    assert served(imported)["net"]["versions"] == [{"source": str(source), "as_version": "1.0"}]


def test_one_archive_is_one_model(store: Path) -> None:
    assert list(served(read_server(store / "echo.mar"))) == ["echo"]


def test_archives_that_cannot_be_served_are_left_out(store: Path) -> None:
    write_config(store.parent, model_store="model-store", load_models="net-1.0.mar,missing.mar,v1=net-2.0.mar")
    imported = read_server(store.parent)
    assert list(served(imported)) == ["net"]
    assert [(each.model, each.key, each.left_out) for each in imported.all_leftovers()] == [
        ("missing", "load_models", False),
        ("missing", "load_models", True),
        ("v1", "load_models", True),
    ]


def test_a_missing_archive_is_told_with_where_it_was_looked_for(store: Path) -> None:
    write_config(store.parent, model_store="model-store", load_models="gone.mar")
    (told_why, _) = read_server(store.parent).models[0].leftovers
    assert told_why.reason.startswith(
        f"left out: source 'gone.mar' does not exist: looked for 'gone.mar' in {str(store)!r}; near it: "
    )


def test_urls_are_sources_as_they_are(tmp_path: Path) -> None:
    write_config(tmp_path, load_models="squeezenet=https://models.example/squeezenet.mar?a=b")
    assert served(model_server.read(tmp_path, "mms"))["squeezenet"]["versions"] == [
        {"source": "https://models.example/squeezenet.mar?a=b", "as_version": "1.0"}
    ]


def test_one_address_for_everything_puts_management_on_the_endpoint(store: Path) -> None:
    address = "http://127.0.0.1:8080"
    write_config(store.parent, model_store="model-store", inference_address=address, management_address=address)
    assert read_server(store.parent).gateway == {
        "model_server": "torchserve",
        "model_folder": str(store),
        "http_port": 8080,
        "grpc_port": 7070,
        "management_port": 8081,
        "management_on_endpoint": True,
    }


def test_every_key_without_a_counterpart_is_listed(store: Path) -> None:
    write_config(
        store.parent,
        inference_address="https://127.0.0.1:8443",
        management_address="http://10.0.0.1:8444",
        metrics_address="http://127.0.0.1:8445",
        model_store="model-store",
        load_models="$$MODELS$$",
        keystore="keystore.p12",
        allowed_urls="https://.*",
        async_logging="true",
        number_of_gpu="1",
        my_own_key="x",
    )
    imported = read_server(store.parent)
    assert imported.gateway["http_port"] == 8443
    assert {key for model, _, key in told(imported) if model is None} == {
        "inference_address",
        "management_address",
        "metrics_address",
        "load_models",
        "keystore",
        "allowed_urls",
        "number_of_gpu",
        "my_own_key",
    }


NOT_WHOLE = "is no whole number of at least 0: it counts as not given"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("job_queue_size", "notanumber", f"'notanumber' {NOT_WHOLE}"),
        ("default_workers_per_model", "many", f"'many' {NOT_WHOLE}"),
        ("default_response_timeout", "2m", f"'2m' {NOT_WHOLE}"),
        ("max_request_size", "-5", f"'-5' {NOT_WHOLE}"),
        ("grpc_inference_port", "70000", "70000 is no port from 1 to 65535: it counts as not given"),
        (
            "inference_address",
            "http://0.0.0.0:99999",
            "the port of 'http://0.0.0.0:99999' is no number from 1 to 65535; "
            "it counts as not given, and the port is 8080, as without an address",
        ),
        (
            "management_address",
            "unix:/tmp/socket",
            "'unix:/tmp/socket' is no HTTP address; "
            "it counts as not given, and the port is 8081, as without an address",
        ),
    ],
)
def test_a_value_that_cannot_be_read_is_told_and_counts_as_not_given(
    store: Path, key: str, value: str, reason: str
) -> None:
    write_config(store.parent, model_store="model-store", load_models="net-1.0.mar")
    without = read_server(store.parent)
    write_config(store.parent, model_store="model-store", load_models="net-1.0.mar", **{key: value})
    imported = read_server(store.parent)
    assert [(each.file, each.key, each.reason) for each in imported.leftovers] == [("config.properties", key, reason)]
    assert (imported.gateway, served(imported)) == (without.gateway, served(without))


def test_a_model_s_value_that_cannot_be_read_is_told_with_the_model(store: Path) -> None:
    version = {"defaultVersion": True, "marName": "net-1.0.mar", "minWorkers": "few", "maxBatchDelay": 1.5}
    write_config(
        store.parent,
        model_store="model-store",
        model_snapshot={"models": {"net": {"1.0": {**version, "batchSize": 2}}}},
    )
    leftovers = read_server(store.parent).models[0].leftovers
    assert [(each.model, each.key, each.reason) for each in leftovers] == [
        ("net", "maxBatchDelay", f"1.5 {NOT_WHOLE}"),
        ("net", "minWorkers", f"'few' {NOT_WHOLE}"),
    ]


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        ({"models": "{no json"}, "config.properties: models: expected JSON"),
        ({"models": "[1]"}, "config.properties: models: expected an object in braces, got '[1]'"),
        ({"models": '{"net": 1}'}, "config.properties: models: expected an object in braces, got '1'"),
    ],
)
def test_damaged_descriptions_are_told(tmp_path: Path, properties: dict[str, str], problem: str) -> None:
    write_config(tmp_path, **properties)
    with pytest.raises(SourceError) as caught:
        read_server(tmp_path)
    assert problem in caught.value.message
