"""What a plan says: one line for people about everything that applying would change."""

from __future__ import annotations

from typing import Any

from model_store.errors import SourceError
from model_store.manifest import Manifest
from serve.config import Config
from serve.config_model import ModelConfig, VersionConfig
from serve.desired import Change, plan
from tests.serve.tiny_versions import manifest


def config(*models: dict[str, Any]) -> Config:
    return Config.model_validate({"models": list(models)})


def nothing_stored(model: ModelConfig, version: VersionConfig) -> Manifest | None:
    return None


def stored_as(number: int) -> Any:
    return lambda model, version: manifest(model.name, number)


DIGITS = {"name": "digits", "source": "/exports/digits.onnx"}


def test_a_new_model_is_added_and_converted() -> None:
    assert plan(None, config(DIGITS), {}, nothing_stored) == [
        Change("digits", "add", ("/exports/digits.onnx: will be converted to a new version",))
    ]


def test_a_new_model_that_the_store_has_already_is_loaded() -> None:
    assert plan(config(), config(DIGITS), {}, stored_as(3)) == [
        Change("digits", "add", ("/exports/digits.onnx: version 3 of the store will be loaded",))
    ]


def test_a_model_that_serves_as_wanted_is_kept() -> None:
    assert plan(config(DIGITS), config(DIGITS), {"digits": {3}}, stored_as(3)) == [Change("digits", "keep")]


def test_a_model_that_the_new_config_lacks_is_retired() -> None:
    assert plan(config(DIGITS), config(), {"digits": {3}}, nothing_stored) == [Change("digits", "retire")]


def test_changed_options_are_named_with_old_and_new_value() -> None:
    changed = DIGITS | {"serve": {"cpus": 2, "batching": {"max_delay_ms": 5.0}}}
    assert plan(config(DIGITS), config(changed), {"digits": {3}}, stored_as(3)) == [
        Change("digits", "change", ("serve.cpus: 1.0 -> 2.0", "serve.batching.max_delay_ms: 0.0 -> 5.0"))
    ]


def test_a_changed_source_is_named_and_its_version_looked_up() -> None:
    changed = DIGITS | {"source": "/exports/digits-2.onnx"}
    assert plan(config(DIGITS), config(changed), {"digits": {3}}, nothing_stored) == [
        Change(
            "digits",
            "change",
            (
                "source: /exports/digits.onnx -> /exports/digits-2.onnx",
                "/exports/digits-2.onnx: will be converted to a new version",
            ),
        )
    ]


def test_a_source_with_new_content_is_a_change_though_the_config_is_the_same() -> None:
    assert plan(config(DIGITS), config(DIGITS), {"digits": {3}}, nothing_stored) == [
        Change("digits", "change", ("/exports/digits.onnx: will be converted to a new version",))
    ]


def test_a_source_that_can_not_be_read_is_told_and_does_not_end_the_plan() -> None:
    def missing(model: ModelConfig, version: VersionConfig) -> Manifest | None:
        if model.name == "digits":
            raise SourceError("no such file: /exports/digits.onnx")
        return manifest(model.name, 1)

    other = {"name": "other", "source": "/exports/other.onnx"}
    assert plan(None, config(DIGITS, other), {}, missing) == [
        Change("digits", "add", ("/exports/digits.onnx: no such file: /exports/digits.onnx",)),
        Change("other", "add", ("/exports/other.onnx: version 1 of the store will be loaded",)),
    ]


def test_a_version_by_number_is_named_by_its_number() -> None:
    by_number = {"name": "digits", "versions": [{"version": 7}]}
    assert plan(None, config(by_number), {}, stored_as(7)) == [
        Change("digits", "add", ("version 7: version 7 of the store will be loaded",))
    ]


def test_models_are_listed_in_the_new_config_s_order_and_retired_ones_last() -> None:
    names = [{"name": name, "source": f"/exports/{name}"} for name in ("a", "b", "c")]
    changes = plan(config(*names), config(names[2], names[1]), {"b": {1}, "c": {1}}, stored_as(1))
    assert [(change.model, change.action) for change in changes] == [("c", "keep"), ("b", "keep"), ("a", "retire")]
