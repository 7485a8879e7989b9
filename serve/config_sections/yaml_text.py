"""The text of a config, read: YAML, of which JSON is a part, by rules of its own for what is not quoted.

Knows nothing of the keys that a config has: it reports what is wrong with the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import yaml

from model_store.errors import ConfigError
from serve.config_sections.source import ConfigSource, KeyPath, Mistake, shorten

try:
    from yaml import CSafeLoader as _FastestLoader
except ImportError:  # a PyYAML built without libyaml
    from yaml import SafeLoader as _FastestLoader  # type: ignore[assignment]

MAX_DEPTH = 32
MAX_VALUES = 200_000
"""Aliases can make a few lines stand for billions of values; no honest config comes near this many."""


class _PositionLoader(_FastestLoader):
    """Composes nodes; resolves unquoted text by the table below instead of YAML 1.1's.

    YAML 1.1 takes `1e-4` for text, `010` for eight and `1:30` for ninety.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own kind of attribute


_TAG = "tag:yaml.org,2002:"
_WHOLE = r"(?:0|[1-9](?:_?[0-9])*)"
_UNQUOTED = {
    "null": r"~|null|Null|NULL|",
    "bool": r"(?:yes|no|true|false|on|off)|(?:Yes|No|True|False|On|Off)|(?:YES|NO|TRUE|FALSE|ON|OFF)",
    "int": rf"[-+]?{_WHOLE}",
    "float": rf"[-+]?(?:{_WHOLE}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
    "merge": r"<<",
}
for _kind, _pattern in _UNQUOTED.items():
    _PositionLoader.add_implicit_resolver(_TAG + _kind, re.compile(rf"^(?:{_pattern})$"), None)


def _bool(text: str) -> bool:
    if text.lower() in ("yes", "true", "on"):
        return True
    if text.lower() in ("no", "false", "off"):
        return False
    raise ValueError(text)


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "merge": str,
    "null": lambda _: None,
    "bool": _bool,
    "int": int,
    "float": lambda text: float(text.replace(".inf", "inf").replace(".nan", "nan")),
}


def read_scalar(text: str) -> Any:
    """`text` read as an unquoted YAML scalar, for values from the environment and the command line."""
    kind = next((kind for kind, pattern in _UNQUOTED.items() if re.fullmatch(pattern, text)), "str")
    return _SCALARS[kind](text)


def read_config_text(text: str, name: str) -> ConfigSource:
    """`text` as values and their lines; `name` stands for it in messages.

    Duplicate keys, foreign tags and the like are kept in `mistakes`. Raises `ConfigError` where the
    text can't be read at all: it is no YAML, empty, or not a mapping.
    """
    root = _compose(_joined_surrogates(text), name)
    if root is None or root.tag == _TAG + "null":
        raise _unreadable(f"{name}: the config is empty; it needs at least 'models:'")
    if not isinstance(root, yaml.MappingNode):
        line = root.start_mark.line + 1
        came = "a list" if isinstance(root, yaml.SequenceNode) else repr(root.value)
        raise _unreadable(f"{name}:{line}: expected a mapping of keys such as 'models:', got {came}")
    reader = _Reader(name)
    value = reader.value(root, ())
    return ConfigSource(name, value, reader.lines, reader.spelled, {}, tuple(reader.mistakes))


def _unreadable(message: str) -> ConfigError:
    return ConfigError(message, mistakes=[message])


def _joined_surrogates(text: str) -> str:
    """JSON writes a character beyond U+FFFF as two escapes, which YAML refuses."""
    if not text.lstrip().startswith("{"):
        return text
    pairs = re.compile(r"(?<!\\)((?:\\\\)*)((?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})+)")
    return pairs.sub(lambda found: found[1] + json.loads(f'"{found[2]}"'), text)


def _compose(text: str, name: str) -> yaml.Node | None:
    if found := yaml.reader.Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise _unreadable(f"{name}:{line}: not YAML: the control character {found[0]!r} is not allowed")
    try:
        return yaml.compose(text, Loader=_PositionLoader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax_message(error, text, name), mistakes=[]) from error
    except RecursionError as error:
        raise _unreadable(f"{name}: nested deeper than {MAX_DEPTH} levels") from error


def _syntax_message(error: yaml.MarkedYAMLError, text: str, name: str) -> str:
    mark = error.problem_mark or error.context_mark
    what = " ".join(part for part in (error.context, error.problem) if part)
    if mark is None:
        return f"{name}: not YAML: {what}"
    lines = text.splitlines()
    indent = re.match(r"\s*", lines[mark.line]) if mark.line < len(lines) else None
    hint = "; indent with spaces, not with a tab" if indent and "\t" in indent[0] else ""
    return f"{name}:{mark.line + 1}:{mark.column + 1}: not YAML: {what}{hint}"


class _Reader:
    """Turns nodes into values, noting lines and mistakes on the way."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self.lines: dict[KeyPath, int] = {}
        self.spelled: dict[KeyPath, str] = {}
        self.mistakes: list[Mistake] = []

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        """Mappings, lists and scalars as Python has them; None where a mistake was noted."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._keep_bounds(node, len(path))
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
        return self._scalar(node, path)

    def _keep_bounds(self, node: yaml.Node, depth: int) -> None:
        self._count += 1
        place = f"{self._name}:{node.start_mark.line + 1}"
        if depth > MAX_DEPTH:
            raise _unreadable(f"{place}: nested deeper than {MAX_DEPTH} levels")
        if self._count > MAX_VALUES:
            raise _unreadable(f"{place}: more than {MAX_VALUES} values, aliases counted")

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        entries = self._entries(node, path, len(path))
        self.lines.update({(*path, key): line for key, (line, _) in entries.items()})
        return {key: self.value(child, (*path, key)) for key, (_, child) in entries.items()}

    def _entries(self, node: yaml.MappingNode, path: KeyPath, depth: int) -> dict[str, tuple[int, yaml.Node]]:
        """Key -> line and node. Keys are kept as they are spelled: `on:` is the key 'on'."""
        own: dict[str, tuple[int, yaml.Node]] = {}
        merged: dict[str, tuple[int, yaml.Node]] = {}
        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _TAG + "merge":
                merged = self._merged(child, path, depth) | merged
            elif not isinstance(key_node, yaml.ScalarNode):
                self._note(line, path, "expected a word as key, got a list or a mapping")
            elif (key := key_node.value) in own:
                self._note(line, (*path, key), f"duplicate key; line {own[key][0]} has it already")
            else:
                own[key] = (line, child)
        return merged | own

    def _merged(self, node: yaml.Node, path: KeyPath, depth: int) -> dict[str, tuple[int, yaml.Node]]:
        """What `<<: *name` or `<<: [*one, *other]` brings; earlier names win over later ones."""
        entries: dict[str, tuple[int, yaml.Node]] = {}
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            self._keep_bounds(source, depth + 1)
            if isinstance(source, yaml.MappingNode):
                entries = self._entries(source, path, depth + 1) | entries
            else:
                self._note(source.start_mark.line + 1, path, "expected a mapping after '<<', as in '<<: *name'")
        return entries

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        line, kind = node.start_mark.line + 1, node.tag.removeprefix(_TAG)
        if not isinstance(node, yaml.ScalarNode) or kind not in _SCALARS:
            shown = node.tag.replace(_TAG, "!!")
            return self._note(line, path, f"unknown tag {shown}; write the value without a tag")
        try:
            value = _SCALARS[kind](node.value)
        except ValueError:
            return self._note(line, path, f"{shorten(node.value)} can't be read as {kind}")
        if node.style in (None, "") and not isinstance(value, str):
            self.spelled[path] = node.value
        return value

    def _note(self, line: int, path: KeyPath, problem: str) -> None:
        mistake = Mistake(f"{self._name}:{line}", line, path, problem)
        if mistake not in self.mistakes:  # a merged mapping is read once for each use
            self.mistakes.append(mistake)
