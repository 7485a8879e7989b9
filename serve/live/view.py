"""A frame as people see it: one table, ordered and filtered as the keys say, cut to the terminal's height."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress

from rich.console import Group
from rich.table import Table
from rich.text import Text

from serve.commands.rollout_report import ended_line, rollout_line, was_sent_back
from serve.live.counts import Figures
from serve.live.looks import Frame, Row

WIDE, WIDEST = 120, 160
"""Columns of a terminal that has room for all figures, and for reasons too."""

KEYS = "q ends   s order   r reverse   / filter   j k or arrows move"

_STYLES = {"READY": "green", "IDLE": "cyan", "FAILED": "red bold", "CONVERTING": "yellow", "LOADING": "yellow"}


def _largest(name: str) -> Callable[[Row], float]:
    return lambda row: -((getattr(row.figures, name) or 0.0) if row.figures else 0.0)


ORDERS: dict[str, Callable[[Row], float] | None] = {
    "config": None,
    "requests": _largest("requests_per_s"),
    "errors": _largest("errors_per_s"),
    "p99": _largest("p99_ms"),
    "queue": _largest("queue_rows"),
    "in flight": _largest("in_flight"),
    "fill": _largest("batch_fill"),
}
"""What rows are ordered by, the largest first; `config` is the config's order."""


@dataclass
class View:
    """What the keys have chosen. `typing` is the filter while it is typed."""

    order: str = "config"
    reverse: bool = False
    wanted: str = ""
    typing: str | None = None
    first: int = 0
    ended: bool = False

    def press(self, key: str) -> None:
        """What a key does."""
        if self.typing is not None:
            self._type(key)
        elif key in ("q", "\x03", "\x04"):
            self.ended = True
        elif key == "s":
            names = list(ORDERS)
            self.order = names[(names.index(self.order) + 1) % len(names)]
        elif key == "r":
            self.reverse = not self.reverse
        elif key == "/":
            self.typing = self.wanted
        elif key in ("j", "down"):
            self.first += 1
        elif key in ("k", "up"):
            self.first = max(0, self.first - 1)

    def _type(self, key: str) -> None:
        assert self.typing is not None
        if key in ("\r", "\n"):
            self.wanted, self.typing, self.first = self.typing, None, 0
        elif key in ("escape", "\x03"):
            self.typing = None
        elif key in ("\x7f", "\x08"):
            self.typing = self.typing[:-1]
        elif len(key) == 1 and key.isprintable():
            self.typing += key

    def arranged(self, rows: Sequence[Row]) -> list[Row]:
        """The rows whose model holds the filter, in order."""
        wanted = self.wanted if self.typing is None else self.typing
        found = [row for row in rows if wanted.lower() in row.state["name"].lower()]
        key = ORDERS[self.order]
        if key is not None:
            found.sort(key=key)
        return found[::-1] if self.reverse else found


def draw(frame: Frame, view: View, height: int | None = None, width: int = WIDEST) -> Group:
    """The frame; `height` lines at most, all of it without, and fewer columns where it is narrow."""
    rows = view.arranged(frame.rows)
    told = [*map(rollout_line, frame.rollouts), *map(ended_line, filter(was_sent_back, frame.ended_rollouts))]
    above = [_headline(frame), *(Text(line, style="yellow") for line in told)]
    if frame.missing:
        above.append(Text(frame.missing, style="yellow"))
    if height is not None:
        room = max(1, height - len(above) - 3)
        view.first = max(0, min(view.first, len(rows) - room))
        hidden = len(rows) - room
        rows = rows[view.first : view.first + room]
        below = _footer(view, f"{view.first + 1} to {view.first + len(rows)} of {hidden + room}" if hidden > 0 else "")
        # A line that broke would push the last one off the screen.
        for line in (*above, below):
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*above, Text(), _table(rows, width, whole=False), below)
    return Group(*above, _table(rows, width, whole=True))


def _headline(frame: Frame) -> Text:
    told = frame.told()
    parts = [frame.gateway["http"], f"generation {frame.generation}"]
    if frame.gateways is not None:
        parts.append(f"{frame.gateways} gateway{'' if frame.gateways == 1 else 's'}")
    if frame.span_s:
        parts += [f"{told['requests_per_s']:.4g} requests/s", f"{told['errors_per_s']:.3g} errors/s"]
        if frame.other_errors_per_s:
            parts[-1] += f" ({frame.other_errors_per_s:.3g} where no version was found)"
        parts.append(f"over {frame.span_s:.0f} s")
    return Text("  ".join(parts), style="bold")


def _footer(view: View, place: str) -> Text:
    if view.typing is not None:
        return Text(f"filter: {view.typing}_   Enter keeps it, Escape does not", style="reverse")
    # What holds comes first: a narrow terminal cuts the end off.
    parts = [place] if place else []
    parts += [f"filter: {view.wanted}"] if view.wanted else []
    parts += [f"order: {view.order}{' reversed' if view.reverse else ''}", KEYS]
    return Text("   ".join(parts), style="dim")


_HEADINGS = (
    *("MODEL", "VERSION", "STATE", "TRAFFIC", "REQ/S", "ERR/S", "P50 MS", "P99 MS", "BATCH", "FILL", "QUEUE"),
    *("IN FLIGHT", "REPLICAS", "WHY"),
)
_OF_TEXT = frozenset({"MODEL", "VERSION", "STATE", "WHY"})
_LEAST_WIDTH = {"TRAFFIC": WIDE, "BATCH": WIDE, "WHY": WIDEST}
"""Columns of the terminal from which on these are shown."""


def _table(rows: Sequence[Row], width: int, *, whole: bool) -> Table:
    """`whole` lets reasons take several lines; otherwise each row has one, and names give way, numbers do not."""
    table = Table(box=None, pad_edge=False, padding=(0, 2 if width >= WIDE else 1, 0, 0), header_style="bold")
    shown = [width >= _LEAST_WIDTH.get(heading, 0) for heading in _HEADINGS]
    for heading in compress(_HEADINGS, shown):
        least = None if heading in ("MODEL", "VERSION", "WHY") and not whole else len(heading)
        table.add_column(
            heading,
            justify="left" if heading in _OF_TEXT else "right",
            no_wrap=heading != "WHY",
            overflow="fold" if whole else "ellipsis",
            min_width=least,
        )
    for row in rows:
        name, *others, why = _cells(row)
        if not whole and isinstance(why, Text):
            why.truncate(max(0, width - WIDEST) + 20, overflow="ellipsis")
        table.add_row(*compress((name, *others, why), shown))
    return table


def _cells(row: Row) -> tuple[Text | str, ...]:
    state, figures = row.state, row.figures
    replicas = state["replicas"]
    on_replicas = state["executor"] == "replicas"
    return (
        # As text: rich would take what stands in brackets for markup.
        Text(state["name"]),
        Text(state["called"] or ""),
        Text(state["state"], style=_STYLES.get(state["state"], "")),
        f"{state['traffic']}%" if state["version"] is not None else "",
        *([""] * 8 if figures is None or state["version"] is None else _figure_cells(figures)),
        f"{replicas['ready']}/{replicas['wanted']}" if on_replicas else state["executor"] or "",
        Text(state["reason"] or ""),
    )


def _figure_cells(figures: Figures) -> tuple[str, ...]:
    return (
        _number(figures.requests_per_s),
        _number(figures.errors_per_s),
        _number(figures.p50_ms),
        _number(figures.p99_ms),
        _number(figures.batch_rows),
        "" if figures.batch_fill is None else f"{figures.batch_fill:.0%}",
        str(figures.queue_rows),
        str(figures.in_flight),
    )


def _number(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.0f}" if value >= 100 else f"{value:.3g}"
