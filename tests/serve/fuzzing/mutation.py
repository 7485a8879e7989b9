"""Inputs as bytes, changed at random: for runs without atheris, whose changes learn from the code that they reach."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from tests.serve.fuzzing.hostile import NUMBERS, OTHERS, SIZES, TEXTS

_PIECES = [*NUMBERS, *OTHERS, *TEXTS, b"\r\n", b"\n\n", b"--", b"%00", b"=", b"&", b",", b":", b"\xff", b"\x80"]
_WORD = re.compile(rb"[A-Za-z0-9_.-]+")


def mutated(seeds: Sequence[bytes], dice: random.Random) -> bytes:
    """One of `seeds`, changed in one to four places."""
    data = dice.choice(seeds)
    for _ in range(dice.randint(1, 4)):
        data = dice.choice(_MUTATIONS)(data, seeds, dice)
    return data


def _flip(data: bytes, seeds: Sequence[bytes], dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    return data[:at] + bytes(byte ^ 1 << dice.randrange(8) for byte in data[at : at + 1]) + data[at + 1 :]


def _cut(data: bytes, seeds: Sequence[bytes], dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def _drop(data: bytes, seeds: Sequence[bytes], dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    return data[:at] + data[at + dice.randrange(1, 20) :]


def _insert(data: bytes, seeds: Sequence[bytes], dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    return data[:at] + dice.choice(_PIECES) + data[at:]


def _replace_word(data: bytes, seeds: Sequence[bytes], dice: random.Random) -> bytes:
    """A word or number becomes another of any seed, or a hostile one."""
    places = list(_WORD.finditer(data))
    if not places:
        return _insert(data, seeds, dice)
    place = dice.choice(places)
    others: list[bytes] = _WORD.findall(dice.choice(seeds)) if dice.random() < 0.5 else []
    return data[: place.start()] + dice.choice(others or _PIECES) + data[place.end() :]


def _size(data: bytes, seeds: Sequence[bytes], dice: random.Random) -> bytes:
    at, width = dice.randrange(len(data) + 1), dice.choice((1, 2, 4, 8))
    return data[:at] + (dice.choice(SIZES) & (1 << 8 * width) - 1).to_bytes(width, "little") + data[at + width :]


def _splice(data: bytes, seeds: Sequence[bytes], dice: random.Random) -> bytes:
    other = dice.choice(seeds)
    return data[: dice.randrange(len(data) + 1)] + other[dice.randrange(len(other) + 1) :]


_MUTATIONS: list[Callable[[bytes, Sequence[bytes], random.Random], bytes]] = [
    _flip, _cut, _drop, _insert, _insert, _replace_word, _replace_word, _size, _splice,
]  # fmt: skip
