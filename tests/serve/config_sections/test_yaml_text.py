"""YAML and JSON text as values with lines, and the ways in which text can be unreadable."""

import math
from typing import Any

import pytest

from model_store.errors import ConfigError
from serve.config_sections.yaml_text import read_config_text, read_scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-2.5", -2.5),
        ("12", 12),
        ("-1", -1),
        ("1_000", 1000),
        ("-.inf", -math.inf),
        ("true", True),
        ("No", False),
        ("~", None),
        ("", None),
        ("010", "010"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("2024-01-01", "2024-01-01"),
        ("tRue", "tRue"),
        ("y", "y"),
        ("'12'", "'12'"),
    ],
)
def test_unquoted_text_is_read_as_numbers_and_words_of_json_and_yaml(text: str, value: Any) -> None:
    found = read_scalar(text)

    assert (found, type(found)) == (value, type(value))


def test_the_file_reads_scalars_the_same_way() -> None:
    source = read_config_text("a: [1e-4, 010, yes, '1', .nan, ~, 2024-01-01, !!str 5, +3]", "c")

    items = source.value["a"]
    assert math.isnan(items.pop(4))
    assert items == [1e-4, "010", True, "1", None, "2024-01-01", "5", 3]
    assert source.mistakes == ()


def test_every_value_knows_its_line_and_unquoted_spelling() -> None:
    source = read_config_text("a: 1.0\nb:\n  - x\n  - c: yes\n    d: 'no'\n", "c")

    assert source.value == {"a": 1.0, "b": ["x", {"c": True, "d": "no"}]}
    assert source.lines == {
        (): 1,
        ("a",): 1,
        ("b",): 2,
        ("b", 0): 3,
        ("b", 1): 4,
        ("b", 1, "c"): 4,
        ("b", 1, "d"): 5,
    }
    assert source.spelled == {("a",): "1.0", ("b", 1, "c"): "yes"}


def test_keys_stay_as_they_are_spelled() -> None:
    assert read_config_text("{on: 1, 2: 3, null: 4}", "c").value == {"on": 1, "2": 3, "null": 4}


def test_aliases_and_merges_are_followed_and_own_keys_win() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: *a\nd: {<<: [*a, *b], x: 9}\n"

    source = read_config_text(text, "c")

    assert source.value["c"] == {"x": 1, "y": 2}
    assert source.value["d"] == {"x": 9, "y": 2, "z": 4}
    assert source.lines["d", "x"] == 4
    assert source.lines["d", "z"] == 2


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("a: 1\nb: 2\na: 3", ["c:3: a: duplicate key; line 1 has it already"]),
        ("a:\n  x: 1\n  x: 2", ["c:3: a.x: duplicate key; line 2 has it already"]),
        ("a: &a {x: 1, x: 2}\nb: {<<: *a}\n", ["c:1: a.x: duplicate key; line 1 has it already",
                                               "c:1: b.x: duplicate key; line 1 has it already"]),
        ("a: !!python/name:os.system x",
         ["c:1: a: unknown tag !!python/name:os.system; write the value without a tag"]),
        ("a: !!set {x}", ["c:1: a: unknown tag !!set; write the value without a tag"]),
        ("a: !!int x", ["c:1: a: 'x' can't be read as int"]),
        ("? [a]\n: 1", ["c:1: expected a word as key, got a list or a mapping"]),
        ("a: {<<: 3}", ["c:1: a: expected a mapping after '<<', as in '<<: *name'"]),
    ],
)  # fmt: skip
def test_what_a_config_cannot_hold_is_noted(text: str, mistakes: list[str]) -> None:
    assert [mistake.text for mistake in read_config_text(text, "c").mistakes] == mistakes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "c: the config is empty; it needs at least 'models:'"),
        ("# only a comment\n", "c: the config is empty; it needs at least 'models:'"),
        ("---\n", "c: the config is empty; it needs at least 'models:'"),
        ("- a", "c:1: expected a mapping of keys such as 'models:', got a list"),
        ("\nhello", "c:2: expected a mapping of keys such as 'models:', got 'hello'"),
        ("a: 1\nb: \x00", "c:2: not YAML: the control character '\\x00' is not allowed"),
        ("a: &a [*a]", "c:1: nested deeper than 32 levels"),
        ("a: &a {<<: *a}", "c:1: nested deeper than 32 levels"),
        ("a: " + "[" * 40 + "]" * 40, "c:1: nested deeper than 32 levels"),
    ],
)
def test_text_that_is_no_config_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config_text(text, "c")

    assert caught.value.message == message
    assert caught.value.details["mistakes"] == [message]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("a: 1\nb: c: d", "c:2:5: not YAML: mapping values are not allowed", ""),
        ("a: [1, 2\nb: 3", "c:2:2: not YAML: while parsing a flow sequence", ""),
        ("a:\n\tb: 1", "c:2:1: not YAML: ", "; indent with spaces, not with a tab"),
        ("a: *b", "c:1:4: not YAML: found undefined alias", ""),
        ("a: 1\n---\nb: 2", "c:2:1: not YAML: expected a single document", ""),
        ("[" * 100_000, "c:", ""),
        ("- " * 100_000, "c:", ""),
    ],
    ids=["colon", "bracket", "tab", "alias", "documents", "brackets", "dashes"],
)
def test_a_syntax_error_has_line_and_column(text: str, start: str, end: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config_text(text, "c")

    assert caught.value.message.startswith(start)
    assert caught.value.message.endswith(end)
    assert "\n" not in caught.value.message


def test_aliases_that_stand_for_billions_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    with pytest.raises(ConfigError, match="more than 200000 values, aliases counted"):
        read_config_text("\n".join(lines), "c")


def test_json_escapes_beyond_the_basic_plane_are_joined_and_backslashes_left() -> None:
    text = '{"a": "\\ud83d\\ude00", "b": "\\\\ud83d\\\\ude00"}'

    assert read_config_text(text, "c").value == {"a": "\U0001f600", "b": "\\ud83d\\ude00"}
