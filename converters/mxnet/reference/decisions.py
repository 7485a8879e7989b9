"""Where rounding decides: operators that sort, pick, suppress, compare or round.

Two values that differ in their last bit may change places in a sort, or be equal on one side only, and then whole rows
differ although nothing is wrong. So the operators that decide are given the very numbers that the translated graph
gives to its own, provided that these agree with numpy's within the tolerance; how each then decides on them is still
compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from converters.base import Arrays
from converters.mxnet.symbol import Entry, Graph

_COMPARISONS = ("equal", "not_equal", "greater", "greater_equal", "lesser", "lesser_equal", "less", "less_equal")
DECIDING = frozenset((
    "argmax", "argmin", "argmax_channel", "argsort", "sort", "topk", "_npi_argmax", "_npi_argmin",
    "_contrib_box_nms", "_contrib_MultiBoxDetection", "_contrib_Proposal", "_contrib_MultiProposal",
    "ROIPooling", "_contrib_ROIAlign", "_contrib_PSROIPooling", "_contrib_DeformablePSROIPooling",
    "Cast", "ceil", "fix", "floor", "rint", "round", "sign", "trunc",
    *(f"{kind}_{name}" for kind in ("broadcast", "_npi") for name in _COMPARISONS),
    *(f"_{name}{end}" for name in _COMPARISONS for end in ("", "_scalar")),
    *(f"_npi_{name}_scalar" for name in _COMPARISONS),
))  # fmt: skip
"""MXNet's names of the operators whose result jumps where a number crosses another, a whole one or a pixel."""

Translated = Callable[[Arrays], Mapping[Entry, np.ndarray]]
"""Runs the translated graph for its values at entries."""


def entries_that_decide(graph: Graph) -> tuple[Entry, ...]:
    """What the deciding operators of a graph read, without its variables."""
    read = {entry: None for node in graph.nodes if node.op in DECIDING for entry in node.inputs}
    return tuple(entry for entry in read if graph.nodes[entry[0]].inputs)


def settled(mine: np.ndarray | None, theirs: np.ndarray | None, rtol: float) -> np.ndarray | None:
    """The translated graph's numbers where they are mine within `rtol` of their scale; else my own."""
    if mine is None or theirs is None or mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return mine
    if mine.dtype.kind != "f":
        return mine
    finite = np.isfinite(mine)
    if not np.array_equal(mine[~finite], theirs[~finite], equal_nan=True):
        return mine
    scale = float(np.abs(mine[finite]).max(initial=0))
    return theirs if bool((np.abs(mine - theirs)[finite] <= rtol * scale).all()) else mine
