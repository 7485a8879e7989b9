"""Triton's model repositories as configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.errors import SourceError
from serve.config import config_keys
from serve.importing import limits, triton
from serve.importing.servers import read_server
from tests.serve.importing_trees import served, told, write_onnx, write_saved_model, write_text, write_torchscript

DENSENET = """
name: "densenet"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 2 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" } ]
version_policy: { latest { num_versions: 2 } }
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 500
  default_queue_policy { max_queue_size: 100 default_timeout_microseconds: 1500000 allow_timeout_override: true }
}
instance_group [ { count: 2 kind: KIND_CPU } ]
"""


@pytest.fixture
def densenet(tmp_path: Path) -> Path:
    folder = tmp_path / "densenet"
    for number in (1, 2, 10):
        write_onnx(folder / str(number) / "model.onnx", number)
    write_text(folder / "labels.txt", "cat\ndog\n")
    write_text(folder / "config.pbtxt", DENSENET)
    return folder


def test_a_model_keeps_versions_batching_labels_and_instances(densenet: Path) -> None:
    imported = triton.read(densenet.parent)
    assert served(imported)["densenet"] == {
        "name": "densenet",
        "versions": [
            {"source": str(densenet / "2/model.onnx"), "as_version": "2"},
            {"source": str(densenet / "10/model.onnx"), "as_version": "10", "traffic": 100},
        ],
        "labels": str(densenet / "labels.txt"),
        "serve": {
            "replicas": 2,
            "batching": {
                "max_batch_size": 8,
                "max_delay_ms": 0.5,
                "preferred_batch_sizes": [4, 8],
                "max_queue": 100,
            },
            "deadline_ms": 1500,
        },
    }
    assert imported.gateway == {"http_port": 8000, "grpc_port": 8001, "management_port": 8002}
    assert told(imported) == []


def test_a_model_without_config_serves_its_newest_version(tmp_path: Path) -> None:
    write_onnx(tmp_path / "plain/1/model.onnx")
    write_onnx(tmp_path / "plain/3/model.onnx/model.onnx")
    imported = read_server(tmp_path)
    assert served(imported) == {
        "plain": {
            "name": "plain",
            "versions": [{"source": str(tmp_path / "plain/3/model.onnx/model.onnx"), "as_version": "3"}],
        }
    }
    assert imported.server == "Triton model repository"


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("version_policy { all { } }", ["1", "2", "10"]),
        ("version_policy { specific { versions: [1, 2] } }", ["1", "2"]),
        ("version_policy { latest { } }", ["10"]),
        ("", ["10"]),
    ],
)
def test_version_policy_picks_the_versions(densenet: Path, policy: str, versions: list[str]) -> None:
    write_text(densenet / "config.pbtxt", f'backend: "onnxruntime" {policy}')
    model = served(triton.read(densenet.parent))["densenet"]
    assert [version["as_version"] for version in model["versions"]] == versions


def test_torchscript_takes_its_inputs_from_the_config_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    source = write_torchscript(tmp_path / "bert/1/model.pt")
    write_text(
        tmp_path / "bert/config.pbtxt",
        """platform: "pytorch_libtorch" max_batch_size: 4
        input { name: "INPUT__1" data_type: TYPE_INT64 dims: [ -1, 8 ] }
        input { name: "INPUT__0" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } }
        output { name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ 2 ] }""",
    )
    imported = triton.read(tmp_path)
    assert served(imported)["bert"] == {
        "name": "bert",
        "versions": [{"source": str(source), "as_version": "1"}],
        "inputs": [
            {"name": "INPUT__0", "datatype": "FP32", "shape": [-1]},
            {"name": "INPUT__1", "datatype": "INT64", "shape": [-1, -1, 8]},
        ],
        "serve": {"batching": {"max_batch_size": 4}},
    }
    assert told(imported) == [
        ("bert", "bert/config.pbtxt", "input[1].reshape"),
        ("bert", "bert/config.pbtxt", "output 'OUTPUT__0'"),
    ]


def test_what_the_config_says_otherwise_is_told(densenet: Path) -> None:
    write_text(
        densenet / "config.pbtxt",
        """name: "other" max_batch_size: 9999
        dynamic_batching { default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 9 } }
        instance_group { count: 1 }""",
    )
    imported = triton.read(densenet.parent)
    model = served(imported)["densenet"]
    assert model["serve"] == {"batching": {"max_batch_size": 4096}}
    assert [key for *_, key in told(imported)] == [
        "name",
        "max_batch_size",
        "dynamic_batching.default_queue_policy.timeout_action",
    ]


def test_texts_are_bytes_to_a_torchscript(tmp_path: Path) -> None:
    write_torchscript(tmp_path / "bert/1/model.pt")
    write_text(
        tmp_path / "bert/config.pbtxt", 'backend: "pytorch" input { name: "t" data_type: TYPE_STRING dims: [ 1 ] }'
    )
    assert served(triton.read(tmp_path))["bert"]["inputs"] == [{"name": "t", "datatype": "BYTES", "shape": [1]}]


@pytest.mark.parametrize(("name", "reason"), [("models", "endpoint's own words"), ("a b", "letters, digits")])
def test_a_name_that_no_model_can_have_is_told(tmp_path: Path, name: str, reason: str) -> None:
    write_onnx(tmp_path / name / "1/model.onnx")
    [model] = triton.read(tmp_path).models
    assert model.mapping is None
    assert reason in model.leftovers[-1].reason


def test_a_name_that_yaml_would_take_for_something_else_stays_text(tmp_path: Path) -> None:
    write_onnx(tmp_path / "true/1/model.onnx")
    assert list(served(triton.read(tmp_path))) == ["true"]


def test_savedmodel_needs_no_inputs(tmp_path: Path) -> None:
    write_saved_model(tmp_path / "keras/1/model.savedmodel")
    write_text(
        tmp_path / "keras/config.pbtxt",
        'backend: "tensorflow" input { name: "x" data_type: TYPE_STRING dims: 1 } output { name: "y" }',
    )
    imported = triton.read(tmp_path)
    assert served(imported)["keras"]["versions"] == [
        {"source": str(tmp_path / "keras/1/model.savedmodel"), "as_version": "1"}
    ]
    assert told(imported) == []


@pytest.mark.parametrize(
    ("file", "config", "key", "reason"),
    [
        ("model.plan", 'platform: "tensorrt_plan"', "platform", "a TensorRT plan"),
        ("model.py", 'backend: "python"', "backend", "python backend"),
        ("model.onnx", "ensemble_scheduling { step [ { model_name: 'a' } ] }", "ensemble_scheduling", "an ensemble"),
        ("model.onnx", "sequence_batching { }", "sequence_batching", "keeps a state"),
    ],
)
def test_what_cannot_be_served_is_left_out_with_its_reason(
    densenet: Path, file: str, config: str, key: str, reason: str
) -> None:
    write_text(densenet.parent / "other/1" / file, "x")
    write_text(densenet.parent / "other/config.pbtxt", config)
    imported = triton.read(densenet.parent)
    assert list(served(imported)) == ["densenet"]
    [leftover] = imported.all_leftovers()
    assert (leftover.model, leftover.key, leftover.left_out) == ("other", key, True)
    assert reason in leftover.reason


def test_files_of_other_formats_are_told_version_by_version(tmp_path: Path) -> None:
    write_text(tmp_path / "net/1/model.plan", "x")
    write_text(tmp_path / "net/2/model.onnx", "no model")
    write_text(tmp_path / "net/config.pbtxt", "version_policy { all { } }")
    imported = triton.read(tmp_path)
    assert told(imported) == [
        ("net", "net/1", "version 1"),
        ("net", "net/2", "version 2"),
        ("net", "net/config.pbtxt", "version_policy"),
    ]
    assert imported.models[0].mapping is None


def test_every_key_without_a_counterpart_is_listed(densenet: Path) -> None:
    write_text(
        densenet / "config.pbtxt",
        DENSENET.replace("dynamic_batching {", "dynamic_batching { preserve_ordering: true new_key { deeper: 1 }")
        + """
        optimization { cuda { graphs: true } execution_accelerators { gpu_execution_accelerator { name: "tensorrt" } } }
        instance_group [ { count: 3 kind: KIND_GPU gpus: [ 0, 1 ] } ]
        parameters { key: "intra_op_thread_count" value { string_value: "4" } }
        model_warmup { name: "w" }
        response_cache { enable: true }
        model_transaction_policy { decoupled: false }
        brand_new { size: 1 }
        """,
    )
    imported = triton.read(densenet.parent)
    assert [key for _, _, key in told(imported)] == [
        "dynamic_batching.preserve_ordering",
        "dynamic_batching.new_key",
        "instance_group[1].gpus",
        "optimization",
        "parameters[intra_op_thread_count]",
        "model_warmup",
        "brand_new",
        "instance_group.kind",
        "response_cache.enable",
    ]
    assert served(imported)["densenet"]["serve"]["replicas"] == 8
    assert served(imported)["densenet"]["serve"]["cache_mib"] == 64


def test_names_of_the_endpoint_are_no_names_of_models(tmp_path: Path) -> None:
    write_onnx(tmp_path / "metrics/1/model.onnx")
    [leftover] = triton.read(tmp_path).all_leftovers()
    assert (leftover.model, leftover.key, leftover.left_out) == ("metrics", "name", True)


def test_a_damaged_config_is_told_with_file_and_line(densenet: Path) -> None:
    write_text(densenet / "config.pbtxt", "name: \n")
    with pytest.raises(SourceError, match=r"densenet/config.pbtxt:1: expected a value"):
        triton.read(densenet.parent)


def test_a_default_file_name_is_followed_but_not_out_of_the_folder(densenet: Path) -> None:
    write_onnx(densenet / "10/other.onnx")
    write_text(densenet / "config.pbtxt", 'default_model_filename: "other.onnx"')
    assert served(triton.read(densenet))["densenet"]["versions"][0]["source"] == str(densenet / "10/other.onnx")
    write_text(densenet / "config.pbtxt", 'default_model_filename: "../2/model.onnx"')
    assert triton.read(densenet).models[0].mapping is None


def test_the_limits_are_those_of_the_config() -> None:
    keys = config_keys()
    bounds = {
        "models[].serve.batching.max_batch_size": limits.LARGEST_BATCH,
        "models[].serve.batching.max_delay_ms": limits.LONGEST_DELAY_MS,
        "models[].serve.batching.max_queue": limits.LARGEST_QUEUE,
        "models[].serve.deadline_ms": limits.LONGEST_DEADLINE_MS,
        "models[].serve.replicas": limits.MOST_REPLICAS,
        "gateway.max_body_bytes": limits.LARGEST_BODY_BYTES,
        "gateway.http_port": limits.LARGEST_PORT,
    }
    for path, most in bounds.items():
        assert keys[path].limits.endswith(f"to {most}"), path
