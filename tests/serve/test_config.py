"""Loading: which value wins, where paths start, what goes into a generation and comes back."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from model_store.errors import ConfigError
from model_store.manifest import ImageProcessor, JsonProcessor, TensorSpec
from serve.config import Config, load_config, parse_config
from serve.config_sections.gateway import GatewayConfig
from serve.config_sections.model import ModelConfig, VersionConfig
from tests.frameworks import FRAMEWORKS

FULL = """\
store: s3://bucket/store
gateway: {host: 0.0.0.0, http_port: 9000, grpc_port: 9001, management_port: 9002, replicas: 2}
models:
  - name: digits
    source: exports/digits.pt2
    serve: {executor: replicas, cpus: 2, replicas: 3, batching: {max_batch_size: 32, max_delay_ms: 2}}
  - name: resnet
    source: s3://exports/resnet.onnx
    framework: onnx
    inputs: [{name: data, datatype: FP32, shape: [-1, 3, 224, 224]}]
    examples: real.npz
    processor: {type: image, height: 224, scale: 0.5, mean: [1, 2.5, 3], colour: BGR, top: 3}
    labels: synset.txt
    trust: true
    convert: {precision: float32, parity: {rtol: 1e-3}}
  - name: ranker
    sticky: {header: X-User}
    versions:
      - {source: exports/a.txt, label: stable, traffic: 90}
      - {source: /exports/b.txt, label: [canary, next], traffic: 10}
      - {version: 7}
      - {version: 8, shadow: true, shadow_percent: 0.5}
"""


def write(tmp_path: Path, text: str, name: str = "onegate.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_fill_what_is_not_written(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "models: [{name: a, source: a.onnx}]"), environ={})

    assert config.store == str(tmp_path / "store")
    assert config.gateway.model_dump() == {
        "host": "127.0.0.1",
        "http_port": 8080,
        "grpc_port": 8081,
        "management_host": "127.0.0.1",
        "management_port": 8082,
        "tls": None,
        "management_tls": None,
        "cors_origins": [],
        "replicas": 1,
        "every_node": False,
        "max_body_bytes": 67_108_864,
        "max_requests": 4096,
        "max_connections": 4096,
        "body_timeout_s": 60.0,
        "model_memory_mib": 0,
        "management_on_endpoint": False,
        "model_folder": None,
        "model_server": "torchserve",
        "drain_timeout_s": 30.0,
    }
    assert (config.allowed_sources, config.trusted_sources) == (["file://*"], [])
    assert config.models[0].model_dump() == {
        "name": "a",
        "source": str(tmp_path / "a.onnx"),
        "versions": None,
        "sticky": None,
        "rollout": None,
        "framework": None,
        "inputs": None,
        "examples": None,
        "trust": False,
        "keep_previous_s": 0.0,
        "module": None,
        "custom_objects": {},
        "code_folder": None,
        "processor": None,
        "labels": None,
        "licence": None,
        "notes": None,
        "handler": {"python": None, "batch_size": None},
        "convert": {
            "to": "onnx",
            "against_mxnet": None,
            "on_failure": "native",
            "precision": "float32",
            "calibration": None,
            "parity": {"rtol": None, "class_agreement": None},
            "timeout_s": 600.0,
            "memory_gib": 8.0,
        },
        "serve": {
            "executor": "auto",
            "cpus": 1,
            "threads": None,
            "gpus": None,
            "device": "auto",
            "providers": None,
            "gpu_memory_mib": None,
            "resources": {},
            "accelerator_type": None,
            "replicas": 1,
            "batching": {
                "max_batch_size": 64,
                "max_delay_ms": 0.0,
                "preferred_batch_sizes": [],
                "max_queue": 1024,
            },
            "deadline_ms": 30_000,
            "cache_mib": 0,
            "hedge_ms": None,
            "hang_timeout_s": None,
            "upstream": {
                "ca": None,
                "certificate": None,
                "private_key": None,
                "api_key_file": None,
                "api_key_env": None,
                "api_key_header": "authorization",
                "max_concurrent": 64,
                "merge": False,
            },
        },
    }


def test_the_folder_of_models_starts_from_the_file_s(tmp_path: Path) -> None:
    path = write(tmp_path, "models: []\ngateway: {model_folder: archives}")
    assert load_config(path, environ={}).gateway.model_folder == str(tmp_path / "archives")
    set_so = load_config(path, environ={"ONEGATE_GATEWAY_MODEL_FOLDER": "elsewhere"})
    assert set_so.gateway.model_folder == str(Path.cwd() / "elsewhere")


def test_every_key_is_read_from_the_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, FULL), environ={})

    digits, resnet, ranker = config.models
    assert config.gateway.host == "0.0.0.0"
    assert config.gateway.replicas == 2
    assert digits.serve.batching.max_delay_ms == 2.0
    assert (digits.serve.executor, digits.serve.cpus, digits.serve.replicas) == ("replicas", 2, 3)
    assert resnet.convert.parity.rtol == 1e-3
    assert resnet.trust is True
    assert resnet.labels == str(tmp_path / "synset.txt")
    assert resnet.processor is not None
    assert resnet.processor.spec() == ImageProcessor(height=224, scale=0.5, mean=(1, 2.5, 3), colour="BGR", top=3)
    assert resnet.inputs is not None
    assert resnet.inputs[0].spec() == TensorSpec("data", "FP32", (-1, 3, 224, 224))
    assert ranker.versions is not None
    assert [(v.version, v.label, v.traffic) for v in ranker.versions] == [
        (None, ["stable"], 90),
        (None, ["canary", "next"], 10),
        (7, None, None),
        (8, None, None),
    ]
    assert [(v.shadow, v.shadow_percent) for v in ranker.versions[2:]] == [(False, None), (True, 0.5)]
    assert ranker.sticky is not None
    assert ranker.sticky.header == "X-User"


def test_a_processor_of_json_has_a_type_only() -> None:
    config = parse_config("models: [{name: a, source: a, processor: {type: json}}]", "c.yaml", Path("/base"))
    assert Config.model_validate(config.document()) == config
    assert config.models[0].processor is not None
    assert config.models[0].processor.spec() == JsonProcessor()


@pytest.mark.parametrize(
    ("text", "environ", "overrides", "port"),
    [
        ("models: []", {}, {}, 8080),
        ("{models: [], gateway: {http_port: 1}}", {}, {}, 1),
        ("{models: [], gateway: {http_port: 1}}", {"ONEGATE_GATEWAY_HTTP_PORT": "2"}, {}, 2),
        ("models: []", {"ONEGATE_GATEWAY_HTTP_PORT": "2"}, {"gateway.http_port": 3}, 3),
        ("models: []", {"ONEGATE_GATEWAY_HTTP_PORT": "2"}, {"gateway.http_port": "3"}, 3),
        ("models: []", {"ONEGATE_GATEWAY_HTTP_PORT": "2"}, {"gateway.http_port": None}, 2),
        ("{models: [], gateway: {http_port: 1}}", {"ONEGATE_GATEWAY_HTTP_PORT": ""}, {}, 1),
        ("{models: [], gateway: {http_port: wrong}}", {"ONEGATE_GATEWAY_HTTP_PORT": "2"}, {}, 2),
    ],
    ids=["default", "file", "environment", "command-line", "text", "none", "empty", "wrong-in-file"],
)
def test_command_line_wins_over_environment_over_file_over_default(
    tmp_path: Path, text: str, environ: dict[str, str], overrides: dict[str, object], port: int
) -> None:
    config = load_config(write(tmp_path, text), overrides=overrides, environ=environ)

    assert config.gateway.http_port == port


def test_the_process_environment_is_read_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEGATE_GATEWAY_DRAIN_TIMEOUT_S", "1.5")

    assert load_config(write(tmp_path, "models: []")).gateway.drain_timeout_s == 1.5


def test_variables_that_are_no_keys_are_passed_over(tmp_path: Path) -> None:
    environ = {"ONEGATE_GATEWAY_PORT": "tcp://10.0.0.1:80", "ONEGATE_MANAGEMENT": "http://127.0.0.1:8082"}

    assert load_config(write(tmp_path, "models: []"), environ=environ).gateway == GatewayConfig()


def test_text_from_the_environment_stays_text(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "models: []"), environ={"ONEGATE_GATEWAY_HOST": "10"})

    assert config.gateway.host == "10"


def test_paths_start_from_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/user")
    text = """\
store: ../store
models:
  - {name: relative, source: ./exports/a.onnx, examples: real.npz}
  - {name: absolute, source: /exports/a.onnx}
  - {name: home, source: ~/a.onnx}
  - {name: remote, source: "s3://exports/a.onnx", examples: "https://host/x.npz"}
  - {name: several, versions: [{source: b.onnx, traffic: 100}, {version: 1}]}
  - {name: coded, source: /exports/a.pt, module: "net:make", code_folder: code}
  - {name: named, source: /exports/a.pt, module: "net:make"}
"""
    (tmp_path / "configs" / "c.yaml").write_text(text)

    config = load_config(Path("configs/c.yaml"), environ={})

    assert config.store == str(tmp_path / "store")
    assert [(model.source, model.examples) for model in config.models] == [
        (str(tmp_path / "configs/exports/a.onnx"), str(tmp_path / "configs/real.npz")),
        ("/exports/a.onnx", None),
        ("/home/user/a.onnx", None),
        ("s3://exports/a.onnx", "https://host/x.npz"),
        (None, None),
        ("/exports/a.pt", None),
        ("/exports/a.pt", None),
    ]
    folders = [None, None, None, None, None, str(tmp_path / "configs/code"), str(tmp_path / "configs")]
    assert [model.code_folder for model in config.models] == folders
    assert config.models[4].versions == [
        VersionConfig(source=str(tmp_path / "configs/b.onnx"), traffic=100),
        VersionConfig(version=1),
    ]


@pytest.mark.parametrize(
    "layer", [{"environ": {"ONEGATE_STORE": "mine"}}, {"environ": {}, "overrides": {"store": "mine"}}]
)
def test_a_store_from_outside_the_file_starts_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: dict[str, Any]
) -> None:
    (tmp_path / "configs").mkdir()
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "configs", "models: []")

    config = load_config(Path("configs/onegate.yaml"), **layer)

    assert config.store == str(tmp_path / "mine")


def test_a_linked_file_reads_paths_beside_the_link(tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    write(tmp_path, "{store: s, models: []}", "real.yaml")
    (tmp_path / "mounted" / "link.yaml").symlink_to(tmp_path / "real.yaml")

    assert load_config(tmp_path / "mounted" / "link.yaml", environ={}).store == str(tmp_path / "mounted/s")


def test_the_document_is_json_and_reads_back_equal(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, FULL), environ={})

    document = json.loads(json.dumps(config.document()))

    assert Config.model_validate(document) == config
    assert parse_config(json.dumps(document), "generation 1", Path("/elsewhere")) == config
    assert document["models"][0]["source"] == str(tmp_path / "exports/digits.pt2")
    assert document["models"][2]["versions"][2] == {"version": 7, "shadow": False}


def test_json_over_the_wire_is_read_with_its_escapes() -> None:
    text = '{\n\t"models": [{"name":"a", "source":"\\/exports\\/\\ud83d\\ude00.onnx"}]}'

    assert parse_config(text, "request", Path("/base")).models[0].source == "/exports/\U0001f600.onnx"


def test_neither_environment_nor_command_line_changes_text_over_the_wire(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ONEGATE_GATEWAY_HTTP_PORT", "9")

    assert parse_config("models: []", "request", Path("/base")).gateway.http_port == 8080


@pytest.mark.parametrize(
    ("versions", "traffic"),
    [
        (None, [100]),
        ([{"version": 1}, {"version": 2}], [100, 0]),
        ([{"version": 1, "traffic": 0}, {"version": 2, "traffic": 100}], [0, 100]),
        ([{"version": 1}, {"version": 2, "traffic": 70}, {"version": 3, "traffic": 30}], [0, 70, 30]),
    ],
)
def test_traffic_is_given_to_every_version(versions: list[dict[str, int]] | None, traffic: list[int]) -> None:
    source = {"source": "/a.onnx"} if versions is None else {"versions": versions}
    model = ModelConfig.model_validate({"name": "a", **source})

    assert [version.traffic for version in model.wanted_versions()] == traffic


def test_contradictions_are_refused_without_a_file_too() -> None:
    with pytest.raises(ValidationError, match=r"8081 is also gateway\.http_port"):
        Config(gateway=GatewayConfig(http_port=8081), models=[])


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda folder: folder / "onegat.yaml", "no such file; did you mean '{folder}/onegate.yaml'?"),
        (lambda folder: folder / "zzz", "no such file; did you mean '{folder}/onegate.yaml'?"),
        (lambda folder: folder / "no" / "x", "no such file; the folder {folder}/no can't be read either"),
        (lambda folder: folder, "is a folder; name the YAML file in it"),
        (lambda folder: folder / "latin", "expected UTF-8 text, got byte 0xe9 at 3"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_to_be(tmp_path: Path, make: Callable[[Path], Path], problem: str) -> None:
    write(tmp_path, "models: []")
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    path = make(tmp_path)

    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})

    expected = f"{path}: {problem.format(folder=tmp_path)}"
    assert caught.value.message == expected
    assert caught.value.details["mistakes"] == [expected]


def test_importing_the_config_loads_no_framework() -> None:
    frameworks = sorted(FRAMEWORKS | {"onnx", "onnxruntime", "ray"})
    code = f"import serve.config_sections.reference, sys; print([name for name in {frameworks} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("said", "meant"), [("envs/old/bin/python", "{folder}/envs/old/bin/python"), ("python3.8", "python3.8")]
)
def test_command_by_its_path_starts_from_the_config_s_folder_and_a_bare_one_stays(
    said: str, meant: str, tmp_path: Path
) -> None:
    text = f"models: [{{name: a, source: a.mar, handler: {{python: {said}}}, convert: {{against_mxnet: {said}}}}}]"
    [model] = load_config(write(tmp_path, text), environ={}).models
    wanted = meant.format(folder=tmp_path)
    assert (model.handler.python, model.convert.against_mxnet) == (wanted, wanted)
