"""Protocol buffers' text format, as in `config.pbtxt` and `models.config`, without the messages' definitions.

Every field is kept, known or not, so that what has no counterpart can be listed by its name. Follows the text format's
specification (protobuf.dev): comments, both kinds of quotes and brackets, lists, joined strings, extensions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeAlias, TypeVar

from model_store.archive_manifest import read_bounded
from model_store.errors import SourceError

LARGEST_FILE_BYTES = 8 << 20
MAX_DEPTH = 32
LONGEST_WORD = 200
"""Characters of a value without quotes. Python refuses to read numbers of thousands of digits."""

T = TypeVar("T")

Value: TypeAlias = "Message | Word | str | int | float"


class Word(str):
    """A value without quotes: the name of an enum's value, `true`, `false`."""


class Message:
    """A message: field -> its values in order, one or more. `where` stands for it in errors."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.fields: dict[str, list[Value]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def messages(self, name: str) -> list[Message]:
        """All values of a field that holds messages. Raises `SourceError` for others, as all readers here do."""
        return [self._checked(name, value, Message, "a message in braces") for value in self.fields.get(name, [])]

    def message(self, name: str) -> Message:
        """The message at `name`; an empty one where there is none."""
        found = self.messages(name)
        return found[-1] if found else Message(self.where)

    def text(self, name: str, default: str = "") -> str:
        """Text, in quotes or a bare word."""
        return self._last(name, str, default, "text")

    def number(self, name: str, default: int = 0) -> int:
        """A whole number."""
        return self._last(name, int, default, "a whole number")

    def numbers(self, name: str) -> list[int]:
        """Whole numbers."""
        return [self._checked(name, value, int, "a whole number") for value in self.fields.get(name, [])]

    def flag(self, name: str) -> bool:
        """A boolean; false where there is none."""
        found = (self.fields.get(name) or [Word("false")])[-1]
        if found in ("true", "True", "t", 1):
            return True
        if found in ("false", "False", "f", 0):
            return False
        raise SourceError(f"{self.where}: {name}: expected true or false, got {found!r}")

    def entries(self, name: str) -> dict[str, Message]:
        """The entries of a map field: key -> the entry, a message with `key` and `value`."""
        return {entry.text("key"): entry for entry in self.messages(name)}

    def leaves(self, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        """The paths of all values, as `("instance_group[1]", "gpus")`; a map's entry is named by its key. A message
        without fields and an empty list count as values, `false` is as good as absent."""
        for name, values in self.fields.items():
            if not values:
                yield (*above, name)
            for index, value in enumerate(values):
                if not isinstance(value, Message):
                    if value != "false":
                        yield (*above, name)
                    continue
                key = _key_of(value)
                shown = f"[{key}]" if key is not None else f"[{index}]" if len(values) > 1 else ""
                if value.fields:
                    yield from value.leaves((*above, name + shown))
                else:
                    yield (*above, name + shown)

    def _last(self, name: str, kind: type[T], default: T, expected: str) -> T:
        values = self.fields.get(name)
        return self._checked(name, values[-1], kind, expected) if values else default

    def _checked(self, name: str, value: object, kind: type[T], expected: str) -> T:
        if not isinstance(value, kind):
            raise SourceError(f"{self.where}: {name}: expected {expected}, got {str(value)[:60]!r}")
        return value

    def __str__(self) -> str:
        return "a message"


def _key_of(message: Message) -> str | None:
    if set(message.fields) <= {"key", "value"} and "key" in message.fields:
        return str(message.fields["key"][-1])
    return None


def read_text_format(path: Path, where: str) -> Message:
    """The message in the file at `path`; raises `SourceError`, which begins with `where`, for what is not in the
    format, larger than 8 MiB, or nested deeper than 32 levels."""
    data = read_bounded(path, LARGEST_FILE_BYTES, where)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{where}: expected UTF-8 text, got byte 0x{data[error.start]:02x} at {error.start}"
        ) from error
    return parse_text_format(text, where)


def parse_text_format(text: str, where: str) -> Message:
    """The message in `text`; raises `SourceError` as `read_text_format`."""
    return _Parser(_tokens(text, where), where).message(None, 0)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<number>(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)[fF]?(?![A-Za-z0-9_]))
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<mark>[{}<>\[\]:,;/.-])""",
    re.VERBOSE,
)
_END = _Token("end", "the end of the file", 0)


def _tokens(text: str, where: str) -> list[_Token]:
    tokens, position, line = [], 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise SourceError(f"{where}:{line}: expected text format, got {text[position : position + 20]!r}")
        kind = str(match.lastgroup)
        if kind != "space":
            tokens.append(_Token(kind, match[0], line))
        line += match[0].count("\n")
        position = match.end()
    return tokens


_CLOSING = {"{": "}", "<": ">"}


class _Parser:
    def __init__(self, tokens: list[_Token], where: str) -> None:
        self._tokens = tokens
        self._next = 0
        self._where = where

    def message(self, closing: str | None, depth: int) -> Message:
        """Fields until `closing`, which is taken, or the end."""
        if depth > MAX_DEPTH:
            self._fail(f"at most {MAX_DEPTH} levels of messages")
        found = Message(self._where)
        while True:
            token = self._peek()
            if token is _END and closing is None:
                return found
            if closing is not None and self._accept(closing):
                return found
            name = self._name()
            colon = self._accept(":")
            found.fields.setdefault(name, []).extend(self._values(colon, depth))
            _ = self._accept(",") or self._accept(";")

    def _name(self) -> str:
        if self._accept("["):
            parts = []
            while not self._accept("]"):
                parts.append(self._take(("word", "number", "mark"), "the name of an extension").text)
            return f"[{''.join(parts)}]"
        return self._take(("word",), "the name of a field").text

    def _values(self, colon: bool, depth: int) -> list[Value]:
        if not self._accept("["):
            return [self._value(colon, depth)]
        values: list[Value] = []
        while not self._accept("]"):
            values.append(self._value(True, depth))
            if not self._accept(",") and self._peek().text != "]":
                self._fail("',' or ']'")
        return values

    def _value(self, colon: bool, depth: int) -> Value:
        for opening, closing in _CLOSING.items():
            if self._accept(opening):
                return self.message(closing, depth + 1)
        if not colon:
            self._fail("':' or '{'")
        if self._peek().kind == "string":
            return self._string()
        negative = self._accept("-")
        if len(self._peek().text) > LONGEST_WORD:
            self._fail(f"at most {LONGEST_WORD} characters")
        token = self._take(("number", "word"), "a value")
        if token.kind == "number":
            number = _number(token.text)
            return -number if negative else number
        return float("-" + token.text) if negative and token.text in ("inf", "nan") else Word(token.text)

    def _string(self) -> str:
        parts = []
        while self._peek().kind == "string":
            parts.append(_unescaped(self._tokens[self._next].text[1:-1]))
            self._next += 1
        return b"".join(parts).decode(errors="replace")

    def _peek(self) -> _Token:
        return self._tokens[self._next] if self._next < len(self._tokens) else _END

    def _accept(self, mark: str) -> bool:
        token = self._peek()
        if token.kind != "mark" or token.text != mark:
            return False
        self._next += 1
        return True

    def _take(self, kinds: tuple[str, ...], expected: str) -> _Token:
        token = self._peek()
        if token.kind not in kinds:
            self._fail(expected)
        self._next += 1
        return token

    def _fail(self, expected: str) -> NoReturn:
        token = self._peek()
        line = token.line or (self._tokens[-1].line if self._tokens else 1)
        raise SourceError(f"{self._where}:{line}: expected {expected}, got {token.text[:40]!r}")


def _number(text: str) -> int | float:
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    if text.isdigit():
        return int(text, 8 if text.startswith("0") and all(digit in "01234567" for digit in text) else 10)
    return float(text.rstrip("fF"))


_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|(.))", re.DOTALL)
_CONTROLS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def _unescaped(text: str) -> bytes:
    return _ESCAPE.sub(_escape, text.encode())


def _escape(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, unicode, other = match.groups()
    if octal:
        return bytes([int(octal, 8) & 0xFF])
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    if unicode:
        return chr(min(int(unicode[1:], 16), 0x10FFFF)).encode(errors="replace")
    return _CONTROLS.get(other, other)
