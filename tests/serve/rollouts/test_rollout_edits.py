"""Traffic and labels as edits of a config."""

from __future__ import annotations

from typing import Any

import pytest

from model_store.errors import ConfigError, ModelNotFound
from serve.config import Config
from serve.control import desired_edits
from serve.control.desired_edits import Known
from serve.control.model_documents import Document
from serve.operations import SetDefault, SetLabels, SetTraffic, UnloadModel
from serve.rollouts.edits import rolled_back, set_labels, set_traffic

NUMBERS = {"/a.onnx": 1, "/b.onnx": 2}


def config(**model: Any) -> Config:
    return Config.model_validate({"store": "/store", "models": [{"name": "m", **model}]})


def _number(model: str, version: Document) -> int | None:
    return version.get("version") or NUMBERS.get(version.get("source", ""))


def _called(model: str, version: Document) -> str | None:
    return version.get("as_version") or str(_number(model, version))


KNOWN = Known(
    _called,
    lambda model: None,
    lambda model: (1, 2, 3),
    _number,
    lambda model: [{"version": 2, "traffic": 0}, {"version": 3, "traffic": 100}],
)


def versions(result: Config) -> list[dict[str, Any]]:
    """The versions as a person would write them."""
    (model,) = result.models
    return model.model_dump(exclude_defaults=True)["versions"]  # type: ignore[no-any-return]


def traffic(before: Config, **shares: int) -> list[dict[str, Any]]:
    return versions(set_traffic(before, SetTraffic(model="m", traffic={k[1:]: v for k, v in shares.items()}), KNOWN))


def labels(before: Config, **moved: str | None) -> list[dict[str, Any]]:
    return versions(set_labels(before, SetLabels(model="m", labels=moved), KNOWN))


SPLIT = [{"version": 1, "traffic": 90, "label": "stable"}, {"version": 2, "traffic": 10, "label": "canary"}]


# -- traffic ---------------------------------------------------------------------------------------------------------


def test_traffic_is_shared_out_as_told() -> None:
    assert [v["traffic"] for v in traffic(config(versions=SPLIT), v1=50, v2=50)] == [50, 50]


def test_a_version_that_is_not_named_gets_none() -> None:
    assert [v["traffic"] for v in traffic(config(versions=SPLIT), v2=100)] == [0, 100]


def test_a_shadow_that_gets_no_traffic_stays_one_and_one_that_gets_any_does_not() -> None:
    shadowed = config(versions=[{"version": 1}, {"version": 2, "shadow": True, "shadow_percent": 20.0}])
    shadow = {"version": 2, "shadow": True, "shadow_percent": 20.0}
    assert traffic(shadowed, v1=100, v2=0) == [{"version": 1, "traffic": 100}, shadow]
    assert traffic(shadowed, v1=100) == [{"version": 1, "traffic": 100}, shadow]
    assert traffic(shadowed, v1=90, v2=10) == [{"version": 1, "traffic": 90}, {"version": 2, "traffic": 10}]


def test_a_version_of_the_store_joins_the_source_that_serves() -> None:
    assert traffic(config(source="/b.onnx"), v2=90, v3=10) == [
        {"source": "/b.onnx", "traffic": 90},
        {"version": 3, "traffic": 10},
    ]


def test_a_version_is_found_by_its_alias_and_by_its_number_too() -> None:
    named = config(versions=[{"version": 1, "as_version": "1.0"}, {"version": 2, "as_version": "2.0"}])
    by_alias = set_traffic(named, SetTraffic(model="m", traffic={"1.0": 30, "2.0": 70}), KNOWN)
    by_number = set_traffic(named, SetTraffic(model="m", traffic={"1": 30, "2": 70}), KNOWN)
    assert by_alias == by_number
    assert [v["traffic"] for v in versions(by_alias)] == [30, 70]


def test_traffic_that_does_not_add_up_is_an_error_of_the_config() -> None:
    expected = r"^model 'm': versions: expected traffic that adds up to 100 percent, got 50 \+ 40 = 90$"
    with pytest.raises(ConfigError, match=expected):
        traffic(config(versions=SPLIT), v1=50, v2=40)


def test_a_version_that_is_nowhere_is_told_with_what_there_is() -> None:
    with pytest.raises(ModelNotFound, match="no version 9; served by the config: 1, 2; in the store: 1, 2, 3"):
        traffic(config(versions=SPLIT), v9=100)


def test_a_model_that_is_nowhere_is_not_found() -> None:
    with pytest.raises(ModelNotFound, match="'absent' is not loaded"):
        set_traffic(config(source="/a.onnx"), SetTraffic(model="absent", traffic={"1": 100}), KNOWN)


# -- labels ----------------------------------------------------------------------------------------------------------


def test_a_label_moves_from_one_version_to_another() -> None:
    assert labels(config(versions=SPLIT), stable="2") == [
        {"version": 1, "traffic": 90},
        {"version": 2, "traffic": 10, "label": ["canary", "stable"]},
    ]


def test_two_labels_change_places() -> None:
    moved = labels(config(versions=SPLIT), stable="2", canary="1")
    assert [v["label"] for v in moved] == ["canary", "stable"]


def test_a_label_is_taken_away() -> None:
    assert labels(config(versions=SPLIT), canary=None)[1] == {"version": 2, "traffic": 10}


def test_a_label_loads_a_version_of_the_store_and_the_first_keeps_all_traffic() -> None:
    result = set_labels(config(source="/a.onnx"), SetLabels(model="m", labels={"next": "3"}), KNOWN)
    assert versions(result) == [{"source": "/a.onnx"}, {"version": 3, "label": "next"}]
    assert [v.traffic for v in result.models[0].wanted_versions()] == [100, 0]


def test_a_label_that_is_to_go_and_is_not_there_is_not_found() -> None:
    with pytest.raises(ModelNotFound, match="no label 'gone'; labels: canary, stable"):
        labels(config(versions=SPLIT), gone=None)


def test_a_label_that_could_be_a_version_is_an_error_of_the_config() -> None:
    with pytest.raises(ConfigError, match=r"^model 'm' version 1: label.*after a first letter"):
        set_labels(config(versions=SPLIT), SetLabels(model="m", labels={"3": "1"}), KNOWN)


# -- a model that takes what the store has ---------------------------------------------------------------------------


def test_an_edit_of_the_versions_ends_the_following_of_the_store() -> None:
    following = config(versions={"latest": 2})
    assert [v["traffic"] for v in traffic(following, v2=50, v3=50)] == [50, 50]
    moved = desired_edits.set_default(following, SetDefault(model="m", version="2"), KNOWN)
    assert versions(moved) == [{"version": 2, "traffic": 100}, {"version": 3, "traffic": 0}]
    left = desired_edits.unload(following, UnloadModel(model="m", version="2"), KNOWN)
    assert versions(left) == [{"version": 3, "traffic": 100}]


# -- rollback --------------------------------------------------------------------------------------------------------


def test_a_record_takes_the_place_of_the_model_and_brings_a_retired_one_back() -> None:
    record = {"name": "m", "versions": [{"version": 1, "traffic": 100}]}
    assert versions(rolled_back(config(source="/b.onnx"), record)) == [{"version": 1, "traffic": 100}]
    empty = Config.model_validate({"store": "/store", "models": []})
    assert [model.name for model in rolled_back(empty, record).models] == ["m"]
