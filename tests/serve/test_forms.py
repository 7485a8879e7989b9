"""Forms as browsers and curl send them, and bodies that only claim to be one."""

from __future__ import annotations

import pytest

from model_store.errors import InvalidInput
from serve.forms import read_form

MULTIPART = "multipart/form-data; boundary=xYz"
URLENCODED = "application/x-www-form-urlencoded"


def form_fields(content_type: str, body: bytes) -> dict[str, bytes] | None:
    form = read_form(content_type, body)
    return None if form is None else form.fields


def part(name: str, content: bytes, more: str = "") -> bytes:
    return f'--xYz\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"


END = b"--xYz--\r\n"


def test_parts_are_cut_out_byte_by_byte() -> None:
    picture = bytes(range(256)) + b"\r\n--xY\r\n\r\n\n\r\x85"
    body = part("data", picture, '; filename="a.jpg"\r\nContent-Type: image/jpeg') + part("top", b"3") + END
    assert form_fields(MULTIPART, body) == {"data": picture, "top": b"3"}


@pytest.mark.parametrize(
    "content_type", ['multipart/form-data; boundary="xYz"', "Multipart/Form-Data; charset=utf-8; boundary=xYz"]
)
def test_the_boundary_may_be_quoted_and_stand_anywhere(content_type: str) -> None:
    assert form_fields(content_type, part("a", b"1") + END) == {"a": b"1"}


def test_what_stands_before_and_after_the_parts_is_passed_over() -> None:
    assert form_fields(MULTIPART, b"hello\r\n" + part("a", b"") + b"--xYz--\r\nbye") == {"a": b""}


def test_of_parts_with_one_name_the_last_counts() -> None:
    assert form_fields(MULTIPART, part("a", b"1") + part("a", b"2") + END) == {"a": b"2"}


def test_a_form_may_be_empty() -> None:
    assert form_fields(MULTIPART, END) == {}


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ("name=data", "data"),
        ("name=data ; filename=x", "data"),
        ('filename="x; name=y"; NAME="data"', "data"),
        ('name="a \\"b\\\\c\\""', 'a "b\\c"'),
        ('name=""', ""),
    ],
)
def test_a_name_is_read_past_file_names_and_quotes(parameters: str, name: str) -> None:
    body = f"--xYz\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; {parameters}\r\n\r\n1\r\n".encode()
    assert form_fields(MULTIPART, body + END) == {name: b"1"}


def test_files_have_the_content_type_that_they_are_sent_with() -> None:
    body = (
        part("text", b"hi", '; filename="a.txt"\r\nContent-Type: text/plain; charset=utf-8')
        + part("raw", b"\xff", "; filename*=utf-8''b%20c\r\nX-Content-Type: no\r\ncontent-type:image/jpeg")
        + part("untyped", b"1", '; filename="c"')
        + part("value", b"{}", "\r\nContent-Type: application/json")
        + END
    )
    form = read_form(MULTIPART, body)
    assert form is not None
    assert form.types == {"text": "text/plain; charset=utf-8", "raw": "image/jpeg"}
    assert list(form.fields) == ["text", "raw", "untyped", "value"]


def test_names_are_unicode_in_both_spellings() -> None:
    extended = b"--xYz\r\nContent-Disposition: form-data; name*=utf-8''gr%C3%B6%C3%9Fe\r\n\r\n1\r\n"
    assert (
        form_fields(MULTIPART, part("größe", b"1") + END) == form_fields(MULTIPART, extended + END) == {"größe": b"1"}
    )


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("multipart/form-data", END, "multipart/form-data needs a boundary in its content type"),
        (MULTIPART, b"", "the body is no form: the boundary of its content type is not in it"),
        (MULTIPART, b"--other--", "the body is no form: the boundary of its content type is not in it"),
        (MULTIPART, part("a", b"1"), "the form ends before its last boundary"),
        (MULTIPART, b"--xYz\r\n\r\n1\r\n" + END, "a part of the form has no name: b'\\r\\n1'"),
        (MULTIPART, b"--xYz\r\nno header\r\n" + END, "a part of the form has no name: b'no header'"),
        (
            MULTIPART,
            b"--xYz\r\nContent-Type: form-data; name=a\r\n\r\n1\r\n" + END,
            "a part of the form has no name: b'Content-Type: form-data; name=a'",
        ),
        (MULTIPART, part("a", b"1", "; x" * 3000) + END, "a part of the form has 9040 bytes of headers; at most 4096"),
        (MULTIPART, part("a", b"1") * 1001 + END, "a form has at most 1000 parts"),
    ],
)
def test_a_malformed_form_is_refused(content_type: str, body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        form_fields(content_type, body)
    assert caught.value.message == message


def test_urlencoded_names_and_values() -> None:
    assert form_fields(URLENCODED, b"data=a%20b+c%FF&x=&gr%C3%B6%C3%9Fe=1") == {
        "data": b"a b c\xff",
        "x": b"",
        "größe": b"1",
    }


def test_percents_that_escape_nothing_stay() -> None:
    assert form_fields(URLENCODED, b"a=%&b=%4&c=%%41%zz%e9&d=100%") == {
        "a": b"%",
        "b": b"%4",
        "c": b"%A%zz\xe9",
        "d": b"100%",
    }


@pytest.mark.parametrize(
    "body",
    [b"\xff\xd8\xff\xe0=&", b'{"x": [1, 2]}', b"[[1, 2]]", b' {"b64": "/9j/4A=="}', b"a=1&" * 1001, b"a=1&b", b""],
)
def test_what_curl_calls_a_form_and_is_none_stays_a_body(body: bytes) -> None:
    assert form_fields(URLENCODED, body) is None


@pytest.mark.parametrize("content_type", ["", "image/jpeg", "application/json", "text/plain; x=multipart/form-data"])
def test_any_other_type_is_no_form(content_type: str) -> None:
    assert form_fields(content_type, END) is None
