"""TensorFlow Serving's base paths and `models.config` as configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.errors import ConfigError, SourceError
from serve.importing.servers import read_server
from serve.importing.tensorflow_base_paths import models_of
from serve.importing.versions import ALL_VERSIONS, VersionPolicy
from tests.serve.importing_trees import served, told, write_saved_model, write_text, write_torchscript


@pytest.fixture
def half(tmp_path: Path) -> Path:
    for name in ("1", "00000002", "10"):
        write_saved_model(tmp_path / "half" / name)
    write_text(tmp_path / "half/temp-3/saved_model.pb", "still being written")
    return tmp_path / "half"


def test_models_of_serves_the_newest_version_by_default(half: Path) -> None:
    assert models_of("half", str(half), VersionPolicy(), {}) == {
        "name": "half",
        "versions": [{"source": str(half / "10"), "as_version": "10"}],
    }


def test_models_of_keeps_labels_and_gives_the_largest_the_traffic(half: Path) -> None:
    assert models_of("half", str(half), ALL_VERSIONS, {"stable": 1, "canary": 2, "next": 2}) == {
        "name": "half",
        "versions": [
            {"source": str(half / "1"), "as_version": "1", "label": "stable"},
            {"source": str(half / "00000002"), "as_version": "2", "label": ["canary", "next"]},
            {"source": str(half / "10"), "as_version": "10", "traffic": 100},
        ],
    }


def test_models_of_takes_file_urls_and_one_file_of_any_kind(tmp_path: Path) -> None:
    source = write_torchscript(tmp_path / "net/7/anything.pt")
    assert models_of("net", f"file://{tmp_path}/net", VersionPolicy(), {})["versions"][0]["source"] == str(source)


def test_models_of_refuses_a_label_of_a_version_that_is_not_loaded(half: Path) -> None:
    with pytest.raises(ConfigError, match=r"label 'stable' is for version 1, which is not loaded; loaded: 10"):
        models_of("half", str(half), VersionPolicy(), {"stable": 1})


@pytest.mark.parametrize(
    ("base_path", "problem"),
    [
        ("/nowhere/at/all", "expected version folders such as /nowhere/at/all/1"),
        ("s3://bucket/half", "is no folder of this machine"),
        ("file://elsewhere/half", "file:// with host 'elsewhere'"),
        ("x" * 5000, "can't be read: File name too long"),
    ],
)
def test_models_of_refuses_a_base_path_without_versions(base_path: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        models_of("half", base_path, VersionPolicy(), {})


def test_a_version_s_folder_holds_one_model_beside_hidden_files(tmp_path: Path) -> None:
    source = write_torchscript(tmp_path / "net/7/a.pt")
    write_torchscript(tmp_path / "net/7/.a.pt")
    assert models_of("net", str(tmp_path / "net"), VersionPolicy(), {})["versions"][0]["source"] == str(source)
    write_torchscript(tmp_path / "net/7/b.pt")
    with pytest.raises(SourceError, match="version 7 holds no model that can be served, or several"):
        models_of("net", str(tmp_path / "net"), VersionPolicy(), {})


def test_models_of_says_nothing_of_other_files(tmp_path: Path) -> None:
    write_text(tmp_path / "net/7/secret.txt", "x")
    with pytest.raises(SourceError) as refused:
        models_of("net", str(tmp_path / "net"), VersionPolicy(), {})
    assert refused.value.message == (
        "model 'net': the folder of version 7 holds no model that can be served, or several; `onegate import` of the "
        "base path tells more"
    )


def test_models_of_refuses_specific_versions_that_are_not_there(half: Path) -> None:
    with pytest.raises(SourceError):
        models_of("half", str(half), VersionPolicy(specific=(5,)), {})


def test_a_base_path_alone_is_a_model(half: Path) -> None:
    imported = read_server(half)
    assert imported.server == "TensorFlow Serving"
    assert imported.gateway == {"http_port": 8501, "grpc_port": 8500}
    assert served(imported) == {
        "half": {"name": "half", "versions": [{"source": str(half / "10"), "as_version": "10"}]}
    }
    assert list(served(read_server(half.parent))) == ["half"]


MODELS = """
model_config_list {
  config {
    name: 'first'
    base_path: '/models/half/'
    model_platform: 'tensorflow'
    model_version_policy { specific { versions: 1 versions: 2 versions: 4 } }
    version_labels { key: 'stable' value: 1 }
    version_labels { key: 'canary' value: 2 }
    version_labels { key: 'beta' value: 2 }
    version_labels { key: 'gone' value: 99 }
    version_labels { key: '9th' value: 1 }
    logging_config { sampling_config { sampling_rate: 0.5 } }
  }
  config { name: "second" base_path: "half" model_version_policy { all { } } }
  config { name: "third" base_path: "/models/third" }
}
"""


def test_models_config_keeps_names_policies_and_labels(half: Path) -> None:
    write_text(half.parent / "models.config", MODELS)
    imported = read_server(half.parent / "models.config")
    models = served(imported)
    assert models["first"]["versions"] == [
        {"source": str(half / "1"), "as_version": "1", "label": "stable"},
        {"source": str(half / "00000002"), "as_version": "2", "label": ["canary", "beta"], "traffic": 100},
    ]
    assert [version["as_version"] for version in models["second"]["versions"]] == ["1", "2", "10"]
    assert told(imported) == [
        ("first", "models.config", "logging_config"),
        ("first", "models.config", "base_path"),
        ("first", "models.config", "model_version_policy.specific.versions"),
        ("first", "models.config", "version_labels[gone]"),
        ("first", "models.config", "version_labels[9th]"),
        ("third", "models.config", "base_path"),
    ]
    assert [each.model for each in imported.all_leftovers() if each.left_out] == ["third"]


def test_batching_parameters_beside_it_hold_for_all_models(half: Path) -> None:
    write_text(half.parent / "models.config", "model_config_list { config { name: 'a' base_path: 'half' } }")
    write_text(
        half.parent / "batching_parameters.txt",
        """max_batch_size { value: 128 }
        batch_timeout_micros { value: 2000 }
        max_enqueued_batches { value: 10 }
        num_batch_threads { value: 8 }
        allowed_batch_sizes: 64 allowed_batch_sizes: 128
        pad_variable_length_inputs: true""",
    )
    imported = read_server(half.parent)
    assert served(imported)["a"]["serve"] == {
        "batching": {
            "max_batch_size": 128,
            "max_delay_ms": 2.0,
            "preferred_batch_sizes": [64, 128],
            "max_queue": 1280,
        }
    }
    assert (None, "batching_parameters.txt", "pad_variable_length_inputs") in told(imported)
