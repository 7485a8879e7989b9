"""symbol.json: every layout from release 0.8 to 2.x, as one typed graph.

Which release wrote a file is seldom told truthfully, so nothing depends on it but what changed its meaning: attributes
are merged from all places where some release put them. Operators are not looked at here, only their names: aliases
become the canonical name (`aliases.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from converters.mxnet.aliases import CANONICAL
from converters.mxnet.attributes import Attributes, hidden
from model_store.errors import SourceError

VARIABLE = "null"
MAX_SYMBOL_BYTES = 64 << 20
"""The largest published graphs have some 10,000 nodes and 5 MB."""
MAX_DEPTH = 32
"""Of subgraphs inside subgraphs."""
_SIZES = 1 << 20

Entry = tuple[int, int]
"""A node's index, and which of its outputs."""


@dataclass(frozen=True)
class Node:
    """One operator or variable (`op` is `null`)."""

    op: str
    name: str
    inputs: tuple[Entry, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    """Attributes that matter to the operator."""
    hints: Mapping[str, str] = field(default_factory=dict)
    """Attributes of the form `__shape__`, for variables."""
    subgraphs: tuple[Graph, ...] = ()

    @property
    def where(self) -> str:
        """The node in words, for errors."""
        return f"MXNet operator {self.op} (node {self.name!r})"

    @property
    def attrs(self) -> Attributes:
        """The attributes, typed."""
        return Attributes(self.texts, self.where)


@dataclass(frozen=True)
class Origin:
    """What a file tells of the MXNet that wrote it, as far as operators mean something else there."""

    version: int = 800
    """major * 10000 + minor * 100 + patch; 800 where the file does not tell."""
    numpy_shapes: bool = False
    """Whether `npx.set_np` was on: a size of 0 is empty then, and a shape of `()` a scalar; else both are unknown."""


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order: inputs of a node come before it."""

    nodes: tuple[Node, ...]
    heads: tuple[Entry, ...]
    arguments: tuple[int, ...]
    """The variables, in the file's order: the inputs of a subgraph."""
    origin: Origin = Origin()
    """Of the whole file; subgraphs are given that of the graph around them when they are run."""

    def variables(self) -> Iterator[Node]:
        """All nodes without an operator."""
        return (node for node in self.nodes if node.op == VARIABLE)


class _RawNode(msgspec.Struct):
    op: str
    name: str
    inputs: list[list[int]] = []
    param: dict[str, Any] | None = None
    attr: dict[str, Any] | None = None
    attrs: dict[str, Any] | None = None
    subgraphs: list[_RawGraph] | None = None


class _RawGraph(msgspec.Struct):
    nodes: list[_RawNode]
    heads: list[list[int]]
    arg_nodes: list[int] = []
    attrs: dict[str, Any] | None = None


def looks_like_symbol(head: bytes) -> bool:
    """Whether the first bytes of a file may be those of a symbol.json."""
    start = head.lstrip()
    return start[:1] == b"{" and b'"nodes"' in start[:400]


def read_symbol(path: Path) -> Graph:
    """The graph in `path`; raises `SourceError` for what is no symbol.json, whole and sound."""
    try:
        size = path.stat().st_size
        if size > MAX_SYMBOL_BYTES:
            raise SourceError(f"{path.name!r} has {size} bytes; a symbol.json has at most {MAX_SYMBOL_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path.name!r} can't be read: {error.strerror or error}") from error
    return parse_symbol(data, path.name)


def parse_symbol(data: bytes, name: str) -> Graph:
    """The graph in the bytes of a file called `name`; raises as `read_symbol`."""
    try:
        raw = msgspec.json.decode(data, type=_RawGraph)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"{name!r} is no symbol.json of MXNet: {error}") from error
    return _graph(raw, name, 0)


def _graph(raw: _RawGraph, name: str, depth: int) -> Graph:
    if depth > MAX_DEPTH:
        raise SourceError(f"{name!r}: subgraphs are nested more than {MAX_DEPTH} deep")
    nodes = tuple(_node(each, index, name, depth) for index, each in enumerate(raw.nodes))
    heads = tuple(_entry(head, len(nodes), f"{name!r}: a head") for head in raw.heads)
    if not heads:
        raise SourceError(f"{name!r} names no heads: the graph has no outputs")
    # The file's own list may lack variables; subgraphs, whose inputs it orders, are written by releases that fill it.
    arguments = tuple(index for index in raw.arg_nodes if 0 <= index < len(nodes))
    return Graph(nodes, heads, arguments, _origin(raw.attrs or {}))


def _node(raw: _RawNode, index: int, name: str, depth: int) -> Node:
    where = f"{name!r}: node {raw.name[:80]!r}"
    inputs = tuple(_entry(entry, index, where) for entry in raw.inputs)
    merged = {**(raw.param or {}), **(raw.attr or {}), **(raw.attrs or {})}
    texts = {key: value if isinstance(value, str) else str(value) for key, value in merged.items()}
    shown = {key: text for key, text in texts.items() if not hidden(key)}
    hints = {key: text for key, text in texts.items() if hidden(key)}
    op = raw.op if raw.op == VARIABLE else CANONICAL.get(raw.op, raw.op)
    subgraphs = tuple(_graph(each, name, depth + 1) for each in raw.subgraphs or ())
    return Node(op, raw.name, inputs, shown, hints, subgraphs)


def _entry(entry: list[int], limit: int, where: str) -> Entry:
    """`[node, output]` or `[node, output, version]`, of which the third only counts writes to auxiliary states."""
    if len(entry) not in (2, 3) or not 0 <= entry[0] < limit or not 0 <= entry[1] < _SIZES:
        raise SourceError(f"{where} refers to {entry[:4]}, which is no [node, output] before it")
    return entry[0], entry[1]


def _origin(attrs: Mapping[str, Any]) -> Origin:
    version = _number(attrs.get("mxnet_version"))
    return Origin(Origin.version if version is None else version, bool(_number(attrs.get("is_np_shape"))))


def _number(attribute: Any) -> int | None:
    """Of `["int", number]`, as a graph's own attributes are written."""
    if isinstance(attribute, list) and len(attribute) == 2 and isinstance(attribute[1], int):
        return attribute[1]
    return None
