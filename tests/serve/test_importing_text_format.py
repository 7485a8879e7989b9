"""The text format of protocol buffers, read without knowing the messages."""

from __future__ import annotations

import pytest

from model_store.errors import SourceError
from serve.importing.text_format import Message, parse_text_format


def parse(text: str) -> Message:
    return parse_text_format(text, "m/config.pbtxt")


def test_scalars_keep_their_kinds() -> None:
    message = parse("name: \"a\" 'b' # the rest\nsize: 0x10 octal: 010; rate: -1.5e3f, kind: KIND_GPU on: true")
    assert message.fields == {
        "name": ["ab"],
        "size": [16],
        "octal": [8],
        "rate": [-1500.0],
        "kind": ["KIND_GPU"],
        "on": ["true"],
    }
    assert (message.text("name"), message.number("size"), message.text("kind")) == ("ab", 16, "KIND_GPU")
    assert (message.flag("on"), message.flag("off")) == (True, False)


def test_lists_and_repeated_fields_are_the_same() -> None:
    assert parse("dims: [ -1, 3 ] dims: 4").numbers("dims") == [-1, 3, 4]
    names = [
        each.text("name")
        for each in parse('input [ { name: "x" }, { name: "y" } ] input < name: "z" >').messages("input")
    ]
    assert names == ["x", "y", "z"]


def test_escapes_are_bytes_of_utf8() -> None:
    assert parse(r'a: "\303\251\x21\n\u00e9\"\q"').text("a") == 'é!\né"q'


def test_entries_of_a_map_go_by_their_key() -> None:
    message = parse('parameters { key: "k" value: { string_value: "v" } } labels { key: "s" value: 7 }')
    assert message.entries("parameters")["k"].message("value").text("string_value") == "v"
    assert list(message.leaves()) == [
        ("parameters[k]", "key"),
        ("parameters[k]", "value", "string_value"),
        ("labels[s]", "key"),
        ("labels[s]", "value"),
    ]


def test_leaves_are_all_fields_but_false_ones() -> None:
    message = parse("a { b: 1 c { } } d: false e { f: true } e { f: true } [x.y/z] { g: 1 }")
    assert list(message.leaves()) == [
        ("a", "b"),
        ("a", "c"),
        ("e[0]", "f"),
        ("e[1]", "f"),
        ("[x.y/z]", "g"),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: {", "m/config.pbtxt:1: expected the name of a field, got 'the end of the file'"),
        ("a:\n\n}", "m/config.pbtxt:3: expected a value, got '}'"),
        ("a 1", "m/config.pbtxt:1: expected ':' or '{', got '1'"),
        ("a: [1 2]", "m/config.pbtxt:1: expected ',' or ']', got '2'"),
        ('a: "x', "m/config.pbtxt:1: expected text format, got '\"x'"),
        ("a: " + "9" * 5000, f"m/config.pbtxt:1: expected at most 200 characters, got '{'9' * 40}'"),
        ("a {" * 40, "m/config.pbtxt:1: expected at most 32 levels of messages, got 'a'"),
    ],
)
def test_what_is_not_in_the_format_is_told_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse(text)
    assert caught.value.message == problem


def test_a_field_of_another_kind_is_told() -> None:
    with pytest.raises(SourceError) as caught:
        parse('max_batch_size: "many"').number("max_batch_size")
    assert caught.value.message == "m/config.pbtxt: max_batch_size: expected a whole number, got 'many'"
