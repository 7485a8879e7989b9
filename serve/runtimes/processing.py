"""Around a runtime of tensors: answers raw bodies, the rows of the signature `payload`, through a processor.

Rows are read and written one by one, and run together. A body that can't be read is answered with its error and spoils
nothing for the other rows of its batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_store.errors import InvalidInput, Unsupported
from model_store.manifest import PAYLOAD, Manifest
from serve.admission import SignatureCheck
from serve.inference import Payload, Tensors
from serve.payloads import answers_to_tensors, asks_for_explanation, refused, requests_of
from serve.processors.base import load_processor
from serve.runtimes.base import Runtime, may_loop

UNTOLD_LARGEST_BATCH = 64
"""Rows in one run of a version that was never measured."""


@dataclass(slots=True)
class _Row:
    """A body on its way: what was read, and later its answer. `count` is how many rows of the model it has."""

    inputs: Tensors
    form: Any = None
    count: int = 1
    answer: Payload | None = None


class ProcessingRuntime:
    """The other signatures pass through untouched. Bodies are read on `threads` threads."""

    def __init__(self, runtime: Runtime, manifest: Manifest, threads: int) -> None:
        self._run = runtime.run
        self.may_loop = may_loop(runtime)
        self._name = manifest.name
        self._processor = load_processor(manifest)
        self._check = SignatureCheck(manifest.name, manifest.signatures[manifest.default_signature])
        self._mergeable = manifest.row_independent and self._check.batched
        self._largest = manifest.profile.largest_batch if manifest.profile else UNTOLD_LARGEST_BATCH
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="decode") if threads > 1 else None

    def run(self, inputs: Tensors, signature: str | None = None) -> Tensors:
        """All outputs of a signature for one batch; raises what the runtime raises."""
        if signature != PAYLOAD:
            return self._run(inputs, signature)
        rows = self._each(self._read, requests_of(inputs))
        for group in self._groups([row for row in rows if row.answer is None]):
            self._answer(group)
        return answers_to_tensors([row.answer for row in rows if row.answer is not None])

    def _each(self, function: Any, items: Sequence[Any]) -> list[Any]:
        """`function` of each, in threads where there are several: Pillow lets the interpreter go while it decodes."""
        if self._threads is None or len(items) == 1:
            return list(map(function, items))
        return list(self._threads.map(function, items))

    def _read(self, payload: Payload) -> _Row:
        try:
            if asks_for_explanation(payload):
                raise Unsupported(f"model {self._name!r} runs without a handler, and has no explanations")
            inputs, form = self._processor.decode(payload)
            return _Row(inputs, form, self._check.rows(inputs))
        except (InvalidInput, Unsupported) as error:
            return _Row({}, answer=refused(error))

    def _groups(self, rows: list[_Row]) -> Iterator[list[_Row]]:
        """Rows that run together: those of equal shapes, up to the largest batch; each alone where rows are not
        independent."""
        if not self._mergeable:
            yield from ([row] for row in rows)
            return
        by_shape: dict[Any, list[_Row]] = {}
        for row in rows:
            by_shape.setdefault(tuple((name, row.inputs[name].shape[1:]) for name in sorted(row.inputs)), []).append(
                row
            )
        for alike in by_shape.values():
            yield from self._cut(alike)

    def _cut(self, rows: list[_Row]) -> Iterator[list[_Row]]:
        group: list[_Row] = []
        for row in rows:
            if group and sum(each.count for each in group) + row.count > self._largest:
                yield group
                group = []
            group.append(row)
        yield group

    def _answer(self, group: list[_Row]) -> None:
        outputs = self._outputs(group)
        start = 0
        for row in group:
            stop = start + row.count
            own = {name: tensor[start:stop] for name, tensor in outputs.items()} if len(group) > 1 else outputs
            try:
                row.answer = self._processor.encode(own, row.form)
            except InvalidInput as error:
                row.answer = refused(error)
            start = stop

    def _outputs(self, group: list[_Row]) -> Tensors:
        if len(group) == 1:
            return self._in_parts(group[0])
        return self._run({name: np.concatenate([row.inputs[name] for row in group]) for name in group[0].inputs}, None)

    def _in_parts(self, row: _Row) -> Tensors:
        """A body of more rows than the largest batch, in several runs where rows are independent."""
        if row.count <= self._largest or not self._mergeable:
            return self._run(row.inputs, None)
        parts = [
            self._run({name: tensor[start : start + self._largest] for name, tensor in row.inputs.items()}, None)
            for start in range(0, row.count, self._largest)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
