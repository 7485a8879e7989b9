"""Attributes of an operator: texts in the file, typed values here.

Every value of a symbol.json is text in Python's or the C++ parameter parser's spelling. It is parsed, never evaluated.
An absent attribute has the operator's default, which each translation states where it asks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from model_store.errors import ConversionError

_HIDDEN = re.compile(r"__.*__|ctx_group|force_mirroring|mirror_stage|(\w+_)?(lr_mult|wd_mult)")
"""Hints to the trainer, the memory planner and the initialisers. They may hold anything, JSON included."""
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan|infinity)")

TYPE_FLAGS: Final[Mapping[int, np.dtype[Any]]] = {
    flag: np.dtype(name)
    for flag, name in {
        0: "float32", 1: "float64", 2: "float16", 3: "uint8", 4: "int32", 5: "int8", 6: "int64", 7: "bool",
        8: "int16", 9: "uint16", 10: "uint32", 11: "uint64",
    }.items()
}  # fmt: skip
"""mshadow's type flags (include/mxnet/base.h); 12 is bfloat16, which numpy does not have."""

_REQUIRED: Final = object()


def hidden(key: str) -> bool:
    """Whether an attribute is a hint that has nothing to do with what the operator computes."""
    return _HIDDEN.fullmatch(key) is not None


class Attributes:
    """The attributes of one node. `where` names operator and node in errors.

    Every method takes the attribute's name and the default that stands for an absent one; without a default the
    attribute is required. All raise `ConversionError` for a text that is no value of the kind asked for.
    """

    def __init__(self, texts: Mapping[str, str], where: str = "a node") -> None:
        self._texts = texts
        self._where = where

    def __contains__(self, name: str) -> bool:
        return self._texts.get(name, "None") != "None"

    def text(self, name: str, default: Any = _REQUIRED) -> str:
        """A word, as `act_type`; a default of None stands for absent."""
        return str(self._get(name, default, str))

    def boolean(self, name: str, default: Any = _REQUIRED) -> bool:
        """`True`, `true`, `1` and their opposites."""
        return bool(self._get(name, default, _boolean))

    def integer(self, name: str, default: Any = _REQUIRED) -> Any:
        """A whole number."""
        return self._get(name, default, _integer)

    def number(self, name: str, default: Any = _REQUIRED) -> Any:
        """A float, `inf` and `nan` included."""
        return self._get(name, default, _number)

    def integers(self, name: str, default: Any = _REQUIRED) -> Any:
        """A tuple of whole numbers; a bare number is a tuple of one, and `()` stands for the default."""
        found = self._get(name, default, lambda text: tuple(map(_integer, _items(text))))
        return default if found == () and default is not _REQUIRED else found

    def optional_integers(self, name: str, default: Any = _REQUIRED) -> Any:
        """A tuple of whole numbers or None, as `(None, 1)`."""
        return self._get(
            name, default, lambda text: tuple(None if item == "None" else _integer(item) for item in _items(text))
        )

    def numbers(self, name: str, default: Any = _REQUIRED) -> Any:
        """A tuple of floats; a bare number is a tuple of one."""
        return self._get(name, default, lambda text: tuple(map(_number, _items(text))))

    def dtype(self, name: str, default: Any = _REQUIRED) -> Any:
        """A numpy dtype, written by its name or as a type flag; bfloat16 is computed as float32 here."""
        return self._get(name, default, _dtype)

    def _get(self, name: str, default: Any, parse: Any) -> Any:
        text = self._texts.get(name)
        if text is None or text == "None":
            if default is _REQUIRED:
                raise ConversionError(f"{self._where}: attribute {name!r} is missing")
            return default
        try:
            return parse(text.strip())
        except (ValueError, TypeError, OverflowError):
            raise ConversionError(f"{self._where}: attribute {name!r} can't be {text[:60]!r}") from None


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError


def _integer(text: str) -> int:
    if re.fullmatch(r"[+-]?\d{1,19}L?", text):
        return int(text.rstrip("L"))
    value = _number(text)
    if value != int(value) or abs(value) >= 2**63:
        raise ValueError
    return int(value)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text.lower()):
        raise ValueError
    return float(text)


def _items(text: str) -> list[str]:
    if text[:1] in ("(", "["):
        if text[-1:] not in (")", "]"):
            raise ValueError
        text = text[1:-1]
    return [item.strip() for item in text.split(",") if item.strip()]


def _dtype(text: str) -> np.dtype[Any]:
    if text in ("bfloat16", "12"):
        return np.dtype(np.float32)
    if text.isdigit():
        if int(text) not in TYPE_FLAGS:
            raise ValueError
        return TYPE_FLAGS[int(text)]
    # numpy's own parser takes whole expressions, and raises anything for broken ones.
    named = [dtype for dtype in TYPE_FLAGS.values() if dtype.name == text]
    if not named:
        raise ValueError
    return named[0]
