"""Requests that wait for a batch: lines by urgency and shape, and which rows go next.

Pure order, without a clock or a loop of its own: when a batch starts and where it runs is `serve/batching.py`'s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from model_store.errors import DeadlineExceeded, OnegateError
from serve.inference import Tensors
from serve.request_record import RequestRecord

LAST = 1 << 62
"""The rank of priority 0, the default: behind every priority that a client can name."""

BACKGROUND = -1
"""The priority of what nobody waits for: behind everything else."""


class Waiting(msgspec.Struct, eq=False):
    """A request, or the rest of a large one, that waits for its batch. Its rows are `rows` of every input.

    Parts of a large request share its future, so that all end with it. `turn` orders the lines: the time at which the
    request came, or at which its last part was taken.
    """

    inputs: Tensors
    rows: int
    deadline: float
    since: float
    turn: float
    future: asyncio.Future[Tensors]
    line: Line
    record: RequestRecord | None = None
    parts: PartAnswers | None = None
    start: int = 0
    share: int = 0

    def settle(self, outputs: Tensors) -> None:
        """Answers these rows; the client may have gone meanwhile."""
        if self.future.done():
            return
        if self.parts is None:
            self.future.set_result(outputs)
        else:
            self.parts.add(self, outputs)

    @property
    def is_background(self) -> bool:
        """Whether nobody waits for it."""
        return self.line.rank > LAST

    def fail(self, error: Exception) -> None:
        """Fails the request, with all its parts."""
        if not self.future.done():
            self.future.set_exception(error)

    def cut(self, rows: int, now: float) -> tuple[Waiting, Waiting]:
        """The first `rows` rows and the rest, as views, both on the way to one answer."""
        parts = self.parts = self.parts or PartAnswers(self.rows)
        first = self._part({name: tensor[:rows] for name, tensor in self.inputs.items()}, rows, self.start)
        rest = self._part(
            {name: tensor[rows:] for name, tensor in self.inputs.items()}, self.rows - rows, self.start + rows
        )
        rest.turn, parts.waiting = now, rest
        return first, rest

    def _part(self, inputs: Tensors, rows: int, start: int) -> Waiting:
        return Waiting(
            inputs,
            rows,
            self.deadline,
            self.since,
            self.since,
            self.future,
            self.line,
            self.record,
            self.parts,
            start,
        )


class PartAnswers:
    """The answers to the parts of a large request, until there are all. `waiting` is what no batch has taken yet."""

    __slots__ = ("_answers", "_missing_rows", "waiting")

    def __init__(self, rows: int) -> None:
        self._missing_rows = rows
        self._answers: list[tuple[int, Tensors]] = []
        self.waiting: Waiting | None = None

    def add(self, part: Waiting, outputs: Tensors) -> None:
        """Takes the answer of one part; the last one completes the request."""
        self._answers.append((part.start, outputs))
        self._missing_rows -= part.rows
        if not self._missing_rows:
            answers = [answer for _, answer in sorted(self._answers, key=_start)]
            part.future.set_result({name: np.concatenate([a[name] for a in answers]) for name in answers[0]})


class Line:
    """Requests of one rank and shape, first come first served. `share` are the rows of one turn of each."""

    __slots__ = ("items", "rank", "shape", "share")

    def __init__(self, rank: int, shape: Any) -> None:
        self.items: deque[Waiting] = deque()
        self.rank = rank
        self.shape = shape
        self.share = 0


class WaitingLines:
    """All that waits for one queue's batches.

    `mergeable` says that rows of several requests may share a batch, and that a request of more rows than a batch holds
    is cut. Such a request goes to the end of its line with each part that is taken, so that it keeps nobody waiting for
    all of it. `ragged` says that shapes may differ; one batch has one shape.
    """

    def __init__(self, *, mergeable: bool, ragged: bool) -> None:
        self._mergeable = mergeable
        self._ragged = ragged
        self.lines: dict[tuple[int, Any], Line] = {}
        """By rank and shape; none is empty."""
        self.rows = 0
        """Rows that no batch has taken yet."""

    def __iter__(self) -> Iterator[Waiting]:
        return (item for line in self.lines.values() for item in line.items)

    def line_for(self, inputs: Tensors, priority: int) -> Line:
        """The line of requests like this one, to be appended to at once: no line stays empty."""
        rank = priority if priority > 0 else LAST - priority
        shape = tuple((name, t.shape[1:]) for name, t in inputs.items()) if self._ragged else None
        line = self.lines.get((rank, shape))
        if line is None:
            line = self.lines[rank, shape] = Line(rank, shape)
        return line

    def append(self, item: Waiting, limit: int) -> None:
        """Takes in a request at the end of its line. `limit` is the batch that it may have at once."""
        line = item.line
        item.share = item.rows if item.rows < limit or not self._mergeable else limit
        line.share += item.share
        line.items.append(item)
        self.rows += item.rows

    def discard(self, item: Waiting) -> None:
        """Takes a request out, or what is left of a large one, if it still waits."""
        parts = item.parts
        if parts is not None and parts.waiting is not None:
            item, parts.waiting = parts.waiting, None
        line = item.line
        if item in line.items:
            line.items.remove(item)
            self._forget(line, item)
            self._drop_if_empty(line)

    def _forget(self, line: Line, item: Waiting) -> None:
        line.share -= item.share
        self.rows -= item.rows

    def _drop_if_empty(self, line: Line) -> None:
        if not line.items:
            self.lines.pop((line.rank, line.shape), None)

    def oldest_s(self) -> float:
        """When the oldest of the requests that come next came."""
        return min(line.items[0].since for line in self.lines.values())

    def rows_ahead(self, priority: int) -> int:
        """Rows that are taken before those of a request of `priority` that comes now; of a large one, a batch."""
        rank = priority if priority > 0 else LAST - priority
        return sum(line.share for line in self.lines.values() if line.rank <= rank)

    def take(self, limit: int, now: float) -> list[Waiting]:
        """The next batch, of at most `limit` rows: the most urgent request that came first, what fits beside it in its
        line, then others of its shape by urgency. Who has gone is left out; who is too late is told so. May be empty.
        """
        if len(self.lines) == 1:
            (line,) = self.lines.values()
            return self._fill([], line, limit, limit, now)
        first = min(self.lines.values(), key=_turn)
        batch = self._fill([], first, limit, limit, now)
        if self._mergeable:
            alike = [line for line in self.lines.values() if line.shape == first.shape and line is not first]
            for line in sorted(alike, key=_turn):
                self._fill(batch, line, limit - sum(item.rows for item in batch), limit, now)
        return batch

    def _fill(self, batch: list[Waiting], line: Line, room: int, limit: int, now: float) -> list[Waiting]:
        items, mergeable = line.items, self._mergeable
        while items and room > 0:
            item = items[0]
            if mergeable and room < item.rows <= limit:
                break
            items.popleft()
            self._forget(line, item)
            if item.parts is not None:
                item.parts.waiting = None
            if item.future.done():
                continue
            if item.deadline <= now:
                item.fail(too_late())
                continue
            if not mergeable:
                batch.append(item)
                break
            if item.rows > room:
                item, rest = item.cut(room, now)
                self.append(rest, limit)
            batch.append(item)
            room -= item.rows
        self._drop_if_empty(line)
        return batch


def too_late() -> OnegateError:
    """The error of a request whose deadline passed before its answer came."""
    return DeadlineExceeded("the deadline passed before the model could answer; allow more time or send less at once")


def _turn(line: Line) -> tuple[int, float]:
    return line.rank, line.items[0].turn


def _start(answer: tuple[int, Tensors]) -> int:
    return answer[0]
