"""Each way in which a config can be wrong, with the exact message, its line included."""
# ruff: noqa: E501  # a case and its message read best in one row

import pickle
from pathlib import Path

import pytest

from model_store.errors import ConfigError
from serve.config import load_config, parse_config

RESERVED = (
    "api, api-description, explanations, health, invocations, metrics, models, openapi.json, ping, predict, "
    "predictions, v1, v2"
)
FRAMEWORKS = "archive, mxnet, pytorch, keras, tensorflow, sklearn, boosting or onnx"
NAME = "letters, digits, '.', '_' and '-' after a first letter or digit, 200 at most"


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c.yaml", Path("/base"))
    return caught.value.message


def in_gateway(text: str) -> str:
    return f"models: []\ngateway:\n  {text}\n"


def in_model(text: str) -> str:
    return f"models:\n  - name: a\n    source: a.onnx\n    {text}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gateway: {}", "c.yaml:1: models: missing; expected a list of mappings"),
        ("models: [{source: a}]", "c.yaml:1: models[0].name: missing; expected text"),
        ("models: {a: 1}", "c.yaml:1: models: expected a list of mappings, got a mapping"),
        ("models:\n- a.onnx", "c.yaml:2: models[0]: expected a mapping, got 'a.onnx'"),
        ("models:", "c.yaml:1: models: expected a list of mappings, got nothing; give it a value or leave the key out"),
        ("models: []\ngateway: [1]", "c.yaml:2: gateway: expected a mapping, got a list"),
        ("models: []\nstor: x", "c.yaml:2: stor: unknown key; did you mean 'store'?"),
        ("models: []\nhttp_port: 1", "c.yaml:2: http_port: unknown key here; it belongs in gateway"),
        ("models: []\nzzz: 1", "c.yaml:2: zzz: unknown key; known here: store, store_cache, signing, gateway, access, tracing, logging, allowed_sources, trusted_sources, models"),
        ("models: []\nstore: ' '", "c.yaml:2: store: expected text that is not blank, got ' '"),
    ],
)  # fmt: skip
def test_a_mistake_at_the_top_is_told_with_its_line(text: str, message: str) -> None:
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http_port: 0", "http_port: expected a whole number from 1 to 65535, got 0"),
        ("http_port: 65536", "http_port: expected a whole number from 1 to 65535, got 65536"),
        ("http_port: '80'", "http_port: expected a whole number from 1 to 65535, got '80'; write it without quotes"),
        ("http_port: 80.5", "http_port: expected a whole number from 1 to 65535, got 80.5"),
        ("http_port: true", "http_port: expected a whole number from 1 to 65535, got true"),
        ("http_port: 0800", "http_port: expected a whole number from 1 to 65535, got '0800'"),
        ("http_port: 8081", "http_port: 8081 is also gateway.grpc_port; the three ports must differ"),
        ("{grpc_port: 7, management_port: 7}", "management_port: 7 is also gateway.grpc_port; the three ports must differ"),
        ("http_prt: 1", "http_prt: unknown key; did you mean 'http_port'?"),
        ("management_porf: 1", "management_porf: unknown key; did you mean 'management_port'?"),
        ("replicas: 65", "replicas: expected a whole number from 1 to 64, got 65"),
        ("max_body_bytes: 1023", "max_body_bytes: expected a whole number from 1024 to 2147483647, got 1023"),
        ("drain_timeout_s: .inf", "drain_timeout_s: expected a number from 0 to 3600, got .inf"),
        ("drain_timeout_s: 1 min", "drain_timeout_s: expected a number from 0 to 3600, got '1 min'"),
        ("host: http://x", "host: expected an address or host name without scheme and port, got 'http://x'"),
        ("host: 127.0.0.1:80", "host: expected an address or host name without scheme and port, got '127.0.0.1:80'"),
        ("host: 10", "host: expected text, got 10, which YAML reads as a number; write it in quotes: '10'"),
        (
            "management_host: 0.0.0.0",
            "management_host: management at 0.0.0.0, where others reach it, needs a key; take 'manage' out of "
            "access.anonymous, and make one with `onegate keys create`",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_the_gateway_is_told_with_its_line(text: str, message: str) -> None:
    assert refusal(in_gateway(text)) == f"c.yaml:3: gateway.{message}"


def test_management_on_an_endpoint_for_others_is_told_with_its_line() -> None:
    text = in_gateway("{host: 0.0.0.0, management_on_endpoint: true}")

    assert refusal(text) == (
        "c.yaml:3: gateway.management_on_endpoint: management at 0.0.0.0, where others reach it, needs a key; take "
        "'manage' out of access.anonymous, and make one with `onegate keys create`"
    )


def test_management_that_needs_a_key_may_be_for_others() -> None:
    gateway = "{host: 0.0.0.0, management_host: '::', management_on_endpoint: true}"
    config = parse_config(f"{in_gateway(gateway)}\naccess: {{anonymous: [infer]}}", "c.yaml", Path("/base"))

    assert (config.gateway.management_host, config.access.anonymous) == ("::", ["infer"])


@pytest.mark.parametrize(
    ("access", "message"),
    [
        ("anonymous: [admin]", "anonymous[0]: expected infer, infer:MODEL, infer:PREFIX*, view, manage or metrics, got 'admin'"),
        ("anonymous: ['infer:a b']", "anonymous[0]: expected infer, infer:MODEL, infer:PREFIX*, view, manage or metrics, got 'infer:a b'"),
        ("jwt: {jwks_file: k, issuer: i}", "jwt.audience: missing; expected text"),
        ("jwt: {jwks_file: k, issuer: i, audience: a, algorithms: [HS256]}",
         "jwt.algorithms[0]: expected RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA, got 'HS256'; did you mean 'RS256'?"),
    ],
)  # fmt: skip
def test_a_mistake_in_access_is_told_with_its_line(access: str, message: str) -> None:
    assert refusal(f"models: []\naccess:\n  {access}") == f"c.yaml:3: access.{message}"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_management_on_loopback_is_admitted(host: str) -> None:
    config = parse_config(in_gateway(f"management_host: '{host}'"), "c.yaml", Path("/base"))

    assert config.gateway.management_host == host


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("1.0", "expected text, got 1.0, which YAML reads as a number; write it in quotes: '1.0'"),
        ("7", "expected text, got 7, which YAML reads as a number; write it in quotes: '7'"),
        ("yes", "expected text, got yes, which YAML reads as true or false; write it in quotes: 'yes'"),
        ("Off", "expected text, got Off, which YAML reads as true or false; write it in quotes: 'Off'"),
        ("null", "expected text, got nothing; give it a value or leave the key out"),
        ("[a]", "expected text, got a list"),
        ("-a", f"expected {NAME}, got '-a'"),
        ("a/b", f"expected {NAME}, got 'a/b'"),
        ('"a\\n"', f"expected {NAME}, got 'a\\n'"),
        ("x" * 100 + "/", f"expected {NAME}, got '{'x' * 56}..."),
        ("x" * 201, f"expected {NAME}, got '{'x' * 56}..."),
        ("v2", f"expected none of the endpoint's own words {RESERVED}, got 'v2'"),
        ("health", f"expected none of the endpoint's own words {RESERVED}, got 'health'"),
    ],
)
def test_a_name_that_no_model_can_have_is_refused(name: str, message: str) -> None:
    assert refusal(f"models:\n  - source: a.onnx\n    name: {name}") == f"c.yaml:3: models[0].name: {message}"


@pytest.mark.parametrize("name", ["'1.0'", "V2", "0a", "a.b_c-d", "2024-01-01", "0x1F", "010"])
def test_a_name_that_yaml_leaves_as_text_needs_no_quotes(name: str) -> None:
    config = parse_config(f"models: [{{name: {name}, source: a}}]", "c.yaml", Path("/base"))

    assert config.models[0].name == name.strip("'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("framework: torch", f"framework: expected {FRAMEWORKS}, got 'torch'; did you mean 'pytorch'?"),
        ("framework: caffe", f"framework: expected {FRAMEWORKS}, got 'caffe'"),
        ("trust: 1", "trust: expected true or false, got 1"),
        ("processor: image", "processor: expected a mapping, got 'image'"),
        ("processor: {}", "processor.type: missing; expected image or json"),
        ("processor: {type: picture}", "processor.type: expected image or json, got 'picture'"),
        ("processor: {type: image, hight: 3}", "processor.hight: unknown key; did you mean 'height'?"),
        ("processor: {type: image, color: RGB}", "processor.color: unknown key; did you mean 'colour'?"),
        ("processor: {type: image, width: 0}", "processor.width: expected a whole number from 1 to 16384, got 0"),
        ("processor: {type: image, mean: 3}", "processor.mean: expected a list of numbers, got 3"),
        ("processor: {type: image, std: []}", "processor.std: expected at least one number, got none; leave the key out instead"),
        ("processor: {type: image, layout: nchw}", "processor.layout: expected NCHW or NHWC, got 'nchw'"),
        ("processor: {type: json, top: 3}", "processor.top: is for the processor 'image'; 'json' has no other keys"),
        ("labels: ' '", "labels: expected text that is not blank, got ' '"),
        ("trust: 'true'", "trust: expected true or false, got 'true'; write it without quotes"),
        ("serve:", "serve: expected a mapping, got nothing; give it a value or leave the key out"),
        ("batching: {}", "batching: unknown key here; it belongs in models[].serve"),
        ("version: 3", "version: unknown key; did you mean 'versions'?"),
        ("inputs: []", "inputs: expected at least one mapping, got none; leave the key out instead"),
        ("inputs: [{name: x, datatype: FP32, shape: [0]}]", "inputs[0].shape[0]: expected -1 or a whole number above 0, got 0"),
        ("inputs: [{name: x, datatype: FP32, shape: [-2]}]", "inputs[0].shape[0]: expected -1 or a whole number above 0, got -2"),
        ("inputs: [{name: x, datatype: FP32, shape: [a]}]", "inputs[0].shape[0]: expected a whole number, got 'a'"),
        ("inputs: [{name: x, datatype: FP32, shape: 3}]", "inputs[0].shape: expected a list of whole numbers, got 3"),
        ("inputs: [{name: x, datatype: FP32}]", "inputs[0].shape: missing; expected a list of whole numbers"),
        (
            "inputs: [{name: x, datatype: float32, shape: []}]",
            "inputs[0].datatype: expected BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, "
            "FP16, BF16, FP32, FP64 or BYTES, got 'float32'",
        ),
        (
            "inputs: [{name: x, datatype: FP32, shape: []}, {name: x, datatype: FP32, shape: []}]",
            "inputs[1].name: the name 'x' is taken by models[0].inputs[0]; inputs need different names",
        ),
        (
            "convert: {precision: float64}",
            "convert.precision: expected float32, float16 or int8, got 'float64'; did you mean 'float16'?",
        ),
        ("convert: {parity: {rtol: 0}}", "convert.parity.rtol: expected a number above 0 and at most 1, got 0"),
        ("convert: {rtol: 1e-4}", "convert.rtol: unknown key here; it belongs in models[].convert.parity"),
        ("custom_objects: {a: 1}", "custom_objects.a: expected text, got 1"),
        ("custom_objects: 1", "custom_objects: expected a mapping of text to text, got 1"),
        ("serve: {batchng: {}}", "serve.batchng: unknown key; did you mean 'batching'?"),
        ("serve: {executor: inlin}", "serve.executor: expected auto, inline or replicas, got 'inlin'; did you mean 'inline'?"),
        ("serve: {executor: inline, replicas: 2}", "serve.replicas: 2 replicas need executor 'replicas' or 'auto', got 'inline'"),
        ("serve: {cpus: 257}", "serve.cpus: expected a number above 0 and at most 256, got 257"),
        ("serve: {replicas: 0}", "serve.replicas: expected a whole number from 1 to 256 or a mapping, got 0"),
        ("serve: {replicas: many}", "serve.replicas: expected a whole number from 1 to 256 or a mapping, got 'many'"),
        ("serve: {replicas: {min: 0}}", "serve.replicas.max: missing; expected a whole number from 1 to 256"),
        ("serve: {replicas: {min: -1, max: 1}}", "serve.replicas.min: expected a whole number from 0 to 256, got -1"),
        ("serve: {replicas: {mni: 1, max: 2}}", "serve.replicas.mni: unknown key; did you mean 'min'?"),
        ("serve: {replicas: {min: 3, max: 2}}", "serve.replicas.min: expected at most max, which is 2, got 3"),
        (
            "serve: {executor: inline, replicas: {max: 2}}",
            "serve.replicas: bounds of replicas need executor 'replicas' or 'auto', got 'inline'",
        ),
        ("serve: {deadline_ms: 0}", "serve.deadline_ms: expected a whole number from 1 to 3600000, got 0"),
        ("serve: {batching: {max_batch_size: 4097}}", "serve.batching.max_batch_size: expected a whole number from 1 to 4096, got 4097"),
        ("serve: {batching: {max_queue: 0}}", "serve.batching.max_queue: expected a whole number from 1 to 1000000, got 0"),
        ("serve: {batching: {max_delay_ms: -1}}", "serve.batching.max_delay_ms: expected a number from 0 to 60000, got -1"),
        ("serve: {batching: {max_delay_ms: 30000}}", "serve.batching.max_delay_ms: expected less than the deadline of 30000 ms, got 30000"),
        ("serve: {deadline_ms: 5, batching: {max_delay_ms: 5}}", "serve.batching.max_delay_ms: expected less than the deadline of 5 ms, got 5"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_model_is_told_with_its_line(text: str, message: str) -> None:
    assert refusal(in_model(text)) == f"c.yaml:4: models[0].{message}"


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ("[]", ": expected at least one mapping, got none; leave the key out instead"),
        ("[{label: a}]", "[0]: expected 'source' or 'version', got neither"),
        ("[{source: s, version: 1}]", "[0].version: 'source' and 'version' exclude each other; keep one"),
        ("[{version: 0}]", "[0].version: expected a whole number from 1 to 2147483647, got 0"),
        ("[{version: 1, label: []}]", "[0].label: expected at least one text, got none; leave the key out instead"),
        ("[{version: 1, label: 1}]", "[0].label: expected text or a list of texts, got 1, which YAML reads as a number; write it in quotes: '1'"),
        ("[{version: 1, label: [a, 1]}]", "[0].label[1]: expected text, got 1, which YAML reads as a number; write it in quotes: '1'"),
        (
            "[{version: 1, label: [a]}, {version: 2, label: [b, a]}]",
            "[1].label[1]: the label 'a' is taken by models[0].versions[0].label; versions of a model need different labels",
        ),
        ("[{version: 1, label: 1a}]", "[0].label: expected letters, digits, '.', '_' and '-' after a first letter, got '1a'"),
        (
            "[{version: 1, label: a}, {version: 2, label: a}]",
            "[1].label: the label 'a' is taken by models[0].versions[0]; versions of a model need different labels",
        ),
        (
            "[{version: 1}, {version: 1}]",
            "[1].version: the version 1 is taken by models[0].versions[0]; versions of a model need different versions",
        ),
        ("[{version: 1, traffic: 99}]", ": expected traffic that adds up to 100 percent, got 99"),
        ("[{version: 1, traffic: 50}, {version: 2, traffic: 40}]", ": expected traffic that adds up to 100 percent, got 50 + 40 = 90"),
        ("[{version: 1, traffic: 50.0}]", "[0].traffic: expected a whole number from 0 to 100, got 50.0"),
        ("[{version: 1, traffic: 50%}]", "[0].traffic: expected a whole number from 0 to 100, got '50%'"),
        (
            "[{version: 1, copies: true}]",
            "[0].copies: unknown key; known here: source, version, label, as_version, traffic, shadow, shadow_percent",
        ),
        ("[{version: 1, shadow: true}]", ": expected a version that is no shadow: somebody must answer"),
        ("[{version: 1}, {version: 2, shadow_percent: 5}]", "[1].shadow_percent: is for a version with `shadow: true`"),
        (
            "[{version: 1, traffic: 100}, {version: 2, shadow: true, traffic: 0}]",
            "[1].traffic: a shadow answers nobody; keep either 'traffic' or 'shadow'",
        ),
        (
            "[{version: 1}, {version: 2, shadow: true, shadow_percent: 0}]",
            "[1].shadow_percent: expected a number above 0 and at most 100, got 0",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_versions_is_told_with_its_line(versions: str, message: str) -> None:
    text = f"models:\n  - name: a\n    versions: {versions}"

    assert refusal(text) == f"c.yaml:3: models[0].versions{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models:\n  - name: a", "c.yaml:2: models[0]: expected 'source' or 'versions', got neither"),
        (
            "models:\n  - name: a\n    source:",
            "c.yaml:2: models[0]: expected 'source' or 'versions', got neither",
        ),
        (
            in_model("versions: [{version: 1}]"),
            "c.yaml:4: models[0].versions: 'source' and 'versions' exclude each other; keep one",
        ),
        (
            "models:\n  - name: a\n    source: x\n    sticky: {header: x-user, request_id: true}",
            "c.yaml:4: models[0].sticky.request_id: 'header' and 'request_id' exclude each other; keep one",
        ),
        (
            "models:\n  - name: a\n    source: x\n    rollout: {steps: [10, 5, 100]}",
            "c.yaml:4: models[0].rollout.steps: expected percents that rise and end with 100, got 10, 5, 100",
        ),
        (
            "models:\n  - name: a\n    source: x\n    rollout: {steps: [10, 50]}",
            "c.yaml:4: models[0].rollout.steps: expected percents that rise and end with 100, got 10, 50",
        ),
        (
            "models:\n  - name: a\n    source: x\n    rollout: {compare_percent: 5}",
            "c.yaml:4: models[0].rollout.compare_percent: is for `max_disagreement`, which is missing",
        ),
        (
            "models:\n  - name: a\n    source: x\n    rollout: {step_s: 60, max_hold_s: 30}",
            "c.yaml:4: models[0].rollout.max_hold_s: expected at least step_s, which is 60, got 30",
        ),
        (
            "models:\n  - name: a\n    source: x\n    sticky: user",
            "c.yaml:4: models[0].sticky: expected a mapping, got 'user'",
        ),
        (
            "models:\n  - {name: a, source: x}\n  - name: a\n    source: y",
            "c.yaml:3: models[1].name: the name 'a' is taken by models[0]; models need different names",
        ),
    ],
)
def test_models_that_contradict_are_refused(text: str, message: str) -> None:
    assert refusal(text) == message


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        """\
gateway:
  http_port: 8081
  http_prt: 1
models:
  - name: a
    source: a.onnx
    serve:
      batchng: {max_batch_size: 8}
      cpus: two
  - name: a
    versions: [{version: 1, traffic: 30}]
    trust: !secret x
    trust: true
"""
    )

    with pytest.raises(ConfigError) as caught:
        load_config(
            path,
            overrides={"gateway.grcp_port": 1, "zzz.y": 1},
            environ={"ONEGATE_GATEWAY_REPLICAS": "many"},
        )

    lines = [
        f"{path}:2: gateway.http_port: 8081 is also gateway.grpc_port; the three ports must differ",
        f"{path}:3: gateway.http_prt: unknown key; did you mean 'http_port'?",
        f"{path}:8: models[0].serve.batchng: unknown key; did you mean 'batching'?",
        f"{path}:9: models[0].serve.cpus: expected a number above 0 and at most 256, got 'two'",
        f"{path}:10: models[1].name: the name 'a' is taken by models[0]; models need different names",
        f"{path}:11: models[1].versions: expected traffic that adds up to 100 percent, got 30",
        f"{path}:12: models[1].trust: unknown tag !secret; write the value without a tag",
        f"{path}:13: models[1].trust: duplicate key; line 12 has it already",
        "command line: gateway.grcp_port: unknown key; did you mean 'grpc_port'?",
        "command line: zzz.y: unknown key",
        "ONEGATE_GATEWAY_REPLICAS: gateway.replicas: expected a whole number from 1 to 64, got 'many'",
    ]
    assert caught.value.details["mistakes"] == lines
    assert caught.value.message == "\n".join([f"11 mistakes in {path}:", *lines])


def test_of_many_mistakes_the_first_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("models:\n" + "- 1\n" * 1000)

    with pytest.raises(ConfigError) as caught:
        load_config(path)

    first, *lines, last = caught.value.message.split("\n")
    assert (first, len(lines), last) == (f"1000 mistakes in {path}:", 50, "and 950 more; mend these first")
    assert lines == caught.value.details["mistakes"][:50]
    assert len(caught.value.details["mistakes"]) == 1000


def test_a_clash_with_a_port_from_outside_names_its_origin(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("models: []")

    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides={"gateway.management_port": 8080}, environ={})

    assert caught.value.message == (
        "command line: gateway.management_port: 8080 is also gateway.http_port; the three ports must differ"
    )


def test_mistakes_survive_pickling() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config("models: []\na: 1\nb: 2", "c.yaml", Path("/base"))

    copy = pickle.loads(pickle.dumps(caught.value))

    assert copy.message == caught.value.message
    assert copy.details["mistakes"] == caught.value.details["mistakes"]
