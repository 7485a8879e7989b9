"""One node on the way of the batch through a graph: what is known in front of it, and how it may be changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from converters.freeing.axes import Preference, Traced, from_array
from converters.freeing.nodes import Nodes, NodeWriter


@dataclass(frozen=True)
class Step:
    """One node on the way through the graph."""

    node: onnx.NodeProto
    values: dict[str, Traced]
    """All that is known in front of it."""
    before: Nodes
    """Nodes that are to stand in front of it."""
    writer: NodeWriter
    batch: int
    preference: Preference
    others_dynamic: bool
    """Whether dimensions other than the batch are dynamic."""
    infer: Callable[[], list[Traced]]
    """Its outputs, by shape inference."""

    def input(self, place: int) -> Traced:
        """What is known of an input; nothing of one that is left out."""
        names = self.node.input
        return self.values.get(names[place], Traced()) if place < len(names) and names[place] else Traced()

    def replace_constant(self, place: int, sizes: Sequence[int]) -> None:
        """Gives the node other integers for an input that is a constant."""
        array = np.array(sizes, np.int64)
        self.node.input[place] = self.writer.constant(array, self.before)
        self.values[self.node.input[place]] = from_array(array)

    def expand(self, place: int, axis: int) -> None:
        """Expands an input that is frozen along `axis` to the batch."""
        name, traced = self.writer.expanded(self.node.input[place], self.input(place), axis, self.before)
        self.node.input[place] = name
        self.values[name] = traced


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute's value."""
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)
