"""Operations as edits of a config: what is loaded, beside what, with which traffic and trust."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from model_store.errors import ConfigError, Conflict, Forbidden, ModelNotFound
from model_store.generations import Generation
from serve.config import Config
from serve.control.desired_edits import (
    Known,
    added_models,
    changed,
    is_overtaken,
    load,
    replace_all,
    restored,
    scale,
    set_default,
    unload,
)
from serve.control.model_documents import Document
from serve.operations import LoadModel, ReplaceModels, ScaleModel, SetDefault, UnloadModel

NUMBERS = {"/a.onnx": "1", "/b.onnx": "2"}
"""The store's numbers of the versions made from these."""


def config(*models: Mapping[str, Any], **keys: Any) -> Config:
    return Config.model_validate({"store": "/store", "models": list(models), **keys})


def known(earlier: Document | None = None, stored: tuple[int, ...] = ()) -> Known:
    def called(model: str, version: Document) -> str | None:
        text = version.get("as_version") or version.get("version") or NUMBERS.get(version.get("source", ""))
        return None if text is None else str(text)

    return Known(called, lambda name: earlier, lambda name: stored)


def model(result: Config, name: str = "m") -> dict[str, Any]:
    """The model as a person would write it: without what has its default."""
    (found,) = [each for each in result.models if each.name == name]
    return found.model_dump(exclude_defaults=True)


M = {"name": "m", "source": "/a.onnx"}
OTHER = {"name": "other", "source": "/other.onnx"}
SOURCE_B = {"source": "/b.onnx"}


# -- load without a source -------------------------------------------------------------------------------------------


def test_a_model_of_the_config_stays_as_it_is() -> None:
    before = config(M, OTHER)
    assert load(before, LoadModel(model="m"), known()) == before


def test_a_model_that_was_desired_earlier_comes_back_as_it_was() -> None:
    earlier = {**M, "trust": True, "serve": {"cpus": 2}}
    after = load(config(OTHER), LoadModel(model="m"), known(earlier, stored=(1, 2)))
    assert model(after) == {"name": "m", "source": "/a.onnx", "trust": True, "serve": {"cpus": 2}}
    assert [each.name for each in after.models] == ["other", "m"]


def test_a_model_that_is_only_in_the_store_comes_in_its_newest_version() -> None:
    after = load(config(), LoadModel(model="m"), known(stored=(1, 4, 7)))
    assert model(after) == {"name": "m", "versions": [{"version": 7}]}


def test_a_stored_version_is_loaded_beside_the_others() -> None:
    after = load(config(M), LoadModel(model="m", version="7"), known(stored=(1, 7)))
    assert model(after) == {"name": "m", "versions": [{"source": "/a.onnx"}, {"version": 7}]}


@pytest.mark.parametrize("operation", [LoadModel(model="m"), LoadModel(model="m", version="9")])
def test_a_model_that_nobody_knows_is_not_found(operation: LoadModel) -> None:
    with pytest.raises(ModelNotFound, match="neither in the config, nor was it, nor in the store"):
        load(config(OTHER), operation, known(stored=(1,) if operation.version else ()))


@pytest.mark.parametrize("version", [None, "1"])
def test_without_replace_what_is_there_is_a_conflict(version: str | None) -> None:
    with pytest.raises(Conflict, match="'m' is loaded already"):
        load(config(M), LoadModel(model="m", version=version, replace=False), known())


# -- load from a source ----------------------------------------------------------------------------------------------


def test_a_new_model_has_the_source() -> None:
    assert model(load(config(), LoadModel(model="m"), known(), SOURCE_B)) == {"name": "m", "source": "/b.onnx"}


def test_a_new_model_has_the_source_under_the_version_that_clients_say() -> None:
    after = load(config(), LoadModel(model="m", version="1.0"), known(), SOURCE_B)
    assert model(after) == {"name": "m", "versions": [{"source": "/b.onnx", "as_version": "1.0"}]}


def test_a_source_without_a_version_replaces_all_versions() -> None:
    before = config({"name": "m", "versions": [{"version": 3}, {"version": 4}], "serve": {"cpus": 2}})
    after = load(before, LoadModel(model="m"), known(), SOURCE_B)
    assert model(after) == {"name": "m", "source": "/b.onnx", "serve": {"cpus": 2}}


def test_a_version_stands_beside_the_others_and_takes_no_traffic() -> None:
    after = load(config(M), LoadModel(model="m", version="2.0"), known(), SOURCE_B)
    assert model(after)["versions"] == [{"source": "/a.onnx"}, {"source": "/b.onnx", "as_version": "2.0"}]
    assert [version.traffic for version in after.models[0].wanted_versions()] == [100, 0]


@pytest.mark.parametrize("version", ["1", "1.0"])
def test_a_version_that_is_called_so_is_replaced_with_its_label_and_traffic(version: str) -> None:
    first = {"source": "/a.onnx", "label": "stable", "traffic": 100, **({"as_version": "1.0"} if version > "1" else {})}
    before = config({"name": "m", "versions": [first, {"version": 9, "traffic": 0}]})
    after = load(before, LoadModel(model="m", version=version), known(), {"version": 5})
    assert model(after)["versions"] == [
        {"version": 5, "label": "stable", "as_version": version, "traffic": 100},
        {"version": 9, "traffic": 0},
    ]


@pytest.mark.parametrize(("version", "entry"), [("5", {"version": 8, "as_version": "5"}), (None, {"version": 8})])
@pytest.mark.parametrize("before", [M, {"name": "m", "versions": [{"version": 3, "as_version": "5"}, {"version": 4}]}])
def test_files_are_all_of_a_model(before: Document, version: str | None, entry: dict[str, Any]) -> None:
    operation = LoadModel(model="m", version=version, files={"model.onnx": b"x"})
    after = load(config({**before, "serve": {"cpus": 2}}), operation, known(), {"version": 8})
    assert model(after) == {"name": "m", "versions": [entry], "serve": {"cpus": 2}}


def test_settings_are_merged_into_the_model() -> None:
    before = config({**M, "serve": {"cpus": 2, "batching": {"max_batch_size": 8, "max_delay_ms": 1.0}}})
    settings = {"serve": {"batching": {"max_batch_size": 16}, "cpus": None}}
    after = load(before, LoadModel(model="m", settings=settings), known())
    assert model(after)["serve"] == {"batching": {"max_batch_size": 16, "max_delay_ms": 1.0}}


def test_settings_that_can_not_be_are_told_as_in_a_config() -> None:
    with pytest.raises(ConfigError, match=r"^model 'm': serve.cpus: expected a number above 0 and at most 256, got 0"):
        load(config(M), LoadModel(model="m", settings={"serve": {"cpus": 0}}), known())


@pytest.mark.parametrize(
    "settings",
    [
        {"trust": True},
        {"source": "/etc/passwd"},
        {"versions": [{"source": "/etc/passwd"}]},
        {"name": "n"},
        {"code_folder": "/tmp"},
        {"handler": {"python": "/tmp/x"}},
        {"convert": {"against_mxnet": "/tmp/x"}},
        {"convert": {"calibration": "/tmp/x"}},
        {"handler": None},
        {"convert": {}},
    ],
)
def test_settings_name_no_files_no_commands_and_no_trust(settings: dict[str, Any]) -> None:
    with pytest.raises(Forbidden, match="can be set in the config only"):
        load(config(M), LoadModel(model="m", settings=settings), known())


# -- trust -----------------------------------------------------------------------------------------------------------


def test_a_source_that_the_config_trusts_may_bring_code() -> None:
    before = config(trusted_sources=["file:///b*"])
    assert model(load(before, LoadModel(model="m"), known(), SOURCE_B))["trust"] is True
    assert "trust" not in model(load(before, LoadModel(model="m"), known(), {"source": "/a.onnx"}))


def test_trust_in_one_source_does_not_cover_another() -> None:
    before = config({**M, "trust": True})
    with pytest.raises(Forbidden, match="nobody trusts the new source"):
        load(before, LoadModel(model="m", version="2"), known(), SOURCE_B)


def test_an_untrusted_source_beside_a_trusted_one_keeps_the_model_untrusted() -> None:
    before = config(M, trusted_sources=["file:///b*"])
    assert "trust" not in model(load(before, LoadModel(model="m", version="2"), known(), SOURCE_B))


def test_a_trusted_model_takes_versions_of_the_store() -> None:
    after = load(config({**M, "trust": True}), LoadModel(model="m"), known(), {"version": 5})
    assert model(after) == {"name": "m", "versions": [{"version": 5}], "trust": True}


# -- unload ----------------------------------------------------------------------------------------------------------

TWO = {"name": "m", "versions": [{"source": "/a.onnx"}, {"source": "/b.onnx", "as_version": "2.0"}]}


def test_an_unloaded_version_leaves_the_others() -> None:
    after = unload(config(TWO), UnloadModel(model="m", version="2.0"), known())
    assert model(after)["versions"] == [{"source": "/a.onnx"}]


@pytest.mark.parametrize(
    "operation",
    [
        UnloadModel(model="m", version="1"),
        UnloadModel(model="m", version="1", default_version=True),
        UnloadModel(model="m", default_version=True),
    ],
)
def test_the_version_that_answers_by_default_stays_while_there_are_others(operation: UnloadModel) -> None:
    with pytest.raises(Forbidden, match="answers by default") as caught:
        unload(config(TWO), operation, known())
    assert caught.value.details == {"model": "m"}


@pytest.mark.parametrize(
    ("before", "operation"),
    [
        (TWO, UnloadModel(model="m")),
        (M, UnloadModel(model="m", default_version=True)),
        (M, UnloadModel(model="m", version="1", default_version=True)),
    ],
)
def test_all_versions_or_the_only_one_take_the_model_with_them(before: Document, operation: UnloadModel) -> None:
    assert [each.name for each in unload(config(before, OTHER), operation, known()).models] == ["other"]


@pytest.mark.parametrize(("name", "version"), [("absent", None), ("m", "3")])
def test_what_is_not_loaded_can_not_be_unloaded(name: str, version: str | None) -> None:
    with pytest.raises(ModelNotFound):
        unload(config(TWO), UnloadModel(model=name, version=version), known())


# -- scale, default --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replicas", "serve"),
    [(2, {"executor": "replicas", "replicas": 2}), (1, {})],
)
def test_replicas_are_set_and_several_leave_the_gateway(replicas: int, serve: dict[str, Any]) -> None:
    after = scale(config(M), ScaleModel(model="m", replicas=replicas), known())
    assert model(after).get("serve", {}) == serve


@pytest.mark.parametrize(
    ("asked", "bounds"),
    [
        (ScaleModel(model="m", replicas=2), {"min": 2, "max": 4}),
        (ScaleModel(model="m", replicas=6), {"min": 6, "max": 6}),
        (ScaleModel(model="m", replicas=0, most=3), {"min": 0, "max": 3}),
    ],
)
def test_of_bounds_the_lower_one_is_set_and_the_upper_one_where_it_is_told(
    asked: ScaleModel, bounds: dict[str, int]
) -> None:
    before = {**M, "serve": {"executor": "replicas", "replicas": {"min": 1, "max": 4, "down_delay_s": 9.0}}}
    replicas = scale(config(before), asked, known()).document()["models"][0]["serve"]["replicas"]
    assert replicas == {**bounds, "up_delay_s": 1.0, "down_delay_s": 9.0}


def test_no_replica_is_refused_as_in_a_config() -> None:
    with pytest.raises(ConfigError, match=r"serve.replicas: expected a whole number from 1 to 256 or a mapping, got 0"):
        scale(config(M), ScaleModel(model="m", replicas=0), known())


def test_all_traffic_goes_to_the_new_default() -> None:
    after = set_default(config(TWO), SetDefault(model="m", version="2.0"), known())
    assert [each.traffic for each in after.models[0].versions or ()] == [0, 100]


@pytest.mark.parametrize(
    ("version", "expected"), [("1", [(100, False), (None, True)]), ("2.0", [(0, False), (100, False)])]
)
def test_a_shadow_stays_one_until_it_is_the_default(version: str, expected: list[tuple[int | None, bool]]) -> None:
    first, second = TWO["versions"]
    shadow = {key: value for key, value in second.items() if key != "traffic"} | {"shadow": True, "shadow_percent": 5}
    before = config({**TWO, "versions": [{**first, "traffic": 100}, shadow]})
    after = set_default(before, SetDefault(model="m", version=version), known())
    assert [(each.traffic, each.shadow) for each in after.models[0].versions or ()] == expected


def test_the_only_version_is_the_default_already() -> None:
    before = config(M)
    assert set_default(before, SetDefault(model="m", version="1"), known()) == before


@pytest.mark.parametrize("version", ["2", "latest"])
def test_a_default_must_be_loaded(version: str) -> None:
    with pytest.raises(ModelNotFound, match=r"has no version .* in the config; there: 1, 2\.0"):
        set_default(config(TWO), SetDefault(model="m", version=version), known())


# -- replace all, take back ------------------------------------------------------------------------------------------


def test_models_that_are_not_listed_are_retired_and_others_keep_their_settings() -> None:
    before = config({**M, "serve": {"cpus": 2}}, OTHER)
    models = ({"name": "m", "versions": [{"source": "/b.onnx", "as_version": "3"}]}, {"name": "new", **SOURCE_B})
    after = replace_all(before, ReplaceModels(models=models))
    assert [each.name for each in after.models] == ["m", "new"]
    assert model(after) == {
        "name": "m",
        "versions": [{"source": "/b.onnx", "as_version": "3"}],
        "serve": {"cpus": 2},
    }


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"name": "n", "source": "/x", "trust": True}, Forbidden),
        ({"name": "n"}, ConfigError),
        ({"source": "/x"}, ConfigError),
        ({"name": "v1", "source": "/x"}, ConfigError),
    ],
)
def test_models_that_can_not_be_are_refused(given: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        replace_all(config(M), ReplaceModels(models=(given,)))


def test_what_did_not_come_off_is_taken_back() -> None:
    former, written = config(M, OTHER), config({**M, "source": "/b.onnx"}, OTHER, {"name": "new", **SOURCE_B})
    assert changed(former, written) == {"m", "new"}
    assert restored(written, written, former) == former


def test_a_model_is_there_since_the_generation_that_added_it_last() -> None:
    assert added_models(None, 1, config(M)) == {"m": 1}
    document = config(M).document()
    assert added_models(Generation(4, "", document, added={"m": 1}), 5, config(M, OTHER)) == {"m": 1, OTHER["name"]: 5}
    # It was there in another time, and is retired in generation 4.
    assert added_models(Generation(4, "", config(OTHER).document(), added={"m": 1}), 5, config(M)) == {"m": 5}
    by_an_older_release = Generation(4, "", document)
    assert added_models(by_an_older_release, 5, config(M)) == {"m": 0}


@pytest.mark.parametrize(
    ("now", "overtaken"),
    [
        ([TWO], False),
        ([{**TWO, "serve": {"cpus": 2}}], False),
        ([{"name": "m", "versions": [{"source": "/b.onnx", "as_version": "2.0", "traffic": 100}]}], False),
        ([M], True),
        ([{"name": "m", "versions": [{"source": "/a.onnx"}, {"source": "/b.onnx", "as_version": "3.0"}]}], True),
        ([OTHER], True),
    ],
)
def test_what_came_with_a_change_must_still_be_there(now: list[Document], overtaken: bool) -> None:
    assert is_overtaken(config(M), config(TWO), config(*now), "m") is overtaken


def test_a_change_of_settings_is_overtaken_when_the_model_is_gone() -> None:
    assert is_overtaken(config(M), config(M), config(OTHER), "m")
    assert not is_overtaken(config(M), config(M), config({"name": "m", "source": "/c.onnx"}), "m")


def test_what_others_changed_since_is_left() -> None:
    former, written = config(M), config({**M, "source": "/b.onnx"})
    now = config({**M, "source": "/c.onnx"}, OTHER)
    assert restored(now, written, former) == now
