"""`versions: all` and `{latest: N}` beside the list of versions."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from model_store.errors import ConfigError
from serve.config import Config, parse_config
from serve.config_sections.reference import json_schema
from serve.config_sections.store_versions import StoreVersions


def parsed(versions: str) -> Config:
    return parse_config(f"models: [{{name: m, versions: {versions}}}]", "onegate.yaml", Path("/"))


@pytest.mark.parametrize(
    ("written", "versions", "document"),
    [("all", StoreVersions(), "all"), ("{latest: 3}", StoreVersions(3), {"latest": 3})],
)
def test_the_store_may_decide_about_versions(written: str, versions: StoreVersions, document: object) -> None:
    config = parsed(written)
    assert config.models[0].versions == versions
    assert config.models[0].wanted_versions() == []
    assert config.document()["models"][0]["versions"] == document
    assert Config.model_validate(config.document()) == config


@pytest.mark.parametrize(
    ("versions", "stored", "expected"),
    [
        (StoreVersions(), [1, 2, 5], [1, 2, 5]),
        (StoreVersions(2), [1, 2, 5], [2, 5]),
        (StoreVersions(7), [1, 2], [1, 2]),
        (StoreVersions(1), [], []),
    ],
)
def test_all_or_the_newest_of_the_store_are_taken(
    versions: StoreVersions, stored: list[int], expected: list[int]
) -> None:
    assert versions.of(stored) == expected


@pytest.mark.parametrize(
    ("written", "came"),
    [
        ("every", "'every'"),
        ("{latest: 0}", "a mapping"),
        ("{latest: '2'}", "a mapping"),
        ("{latest: true}", "a mapping"),
        ("{newest: 2}", "a mapping"),
        ("{latest: 2, oldest: 1}", "a mapping"),
        ("{}", "a mapping"),
    ],
)
def test_anything_else_is_told(written: str, came: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(written)
    assert caught.value.message == (
        "onegate.yaml:1: models[0].versions: expected a list of mappings, `all` or `{latest: N}` with a whole number "
        f"from 1 on, got {came}"
    )


@pytest.mark.parametrize(
    ("versions", "valid"),
    [
        ("all", True),
        ({"latest": 2}, True),
        ([{"version": 1}], True),
        ("every", False),
        ({"latest": 0}, False),
        ({"latest": 2, "oldest": 1}, False),
        ([], False),
    ],
)
def test_the_schema_says_the_same(versions: object, valid: bool) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid({"models": [{"name": "m", "versions": versions}]}) is valid
