"""What stands to the vote of the parity gate: a conversion, and ways to serve one whose batch is frozen.

A source that was exported for one batch only can often be freed from it in the graph; where it can't, the server pads
requests to that batch and splits them around it, provided that rows are independent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from converters.base import Conversion, Run
from converters.batch import by_batches, free_batch, frozen_batch, with_any_batch
from converters.graph import open_session, read_signature, runner
from converters.native import load_native
from model_store.errors import ConversionError
from model_store.manifest import Signature


def candidates(conversion: Conversion, workdir: Path) -> Iterator[Conversion]:
    """The conversion in order of preference: with a free batch, padded to its frozen one, as it is."""
    batch = frozen_batch(conversion.signature)
    if batch is not None and not conversion.others:
        reference = by_batches(conversion.reference, batch)
        if conversion.runtime == "onnx" and (freed := _freed(conversion, batch, workdir)):
            yield dataclasses.replace(freed, reference=reference)
        yield dataclasses.replace(
            conversion, signature=with_any_batch(conversion.signature), reference=reference, fixed_batch=batch
        )
    yield conversion


def _freed(conversion: Conversion, batch: int, workdir: Path) -> Conversion | None:
    model = free_batch(conversion.model, batch, workdir / f"{conversion.model.parent.name}-any-batch")
    if model is None:
        return None
    try:
        signature = read_signature(open_session(model))
    except ConversionError:
        return None
    if any(spec.shape[:1] != (-1,) for spec in (*signature.inputs, *signature.outputs)):
        return None
    return dataclasses.replace(conversion, model=model, signature=signature)


def signatures_of(conversion: Conversion) -> dict[str, Signature]:
    """All signatures by name, the default one first."""
    return {each.signature_name: each.signature for each in (conversion, *conversion.others)}


def runs_of(conversion: Conversion, *, trusted: bool, threads: int = 0) -> dict[str, Run]:
    """The version as it would be served: for each signature a function from inputs to outputs, on `threads` CPU threads
    (0: the runtime's own choice).

    Raises `ConversionError` when the runtime does not load it.
    """
    if conversion.runtime == "onnx":
        entries = (conversion, *conversion.others)
        runs = {each.signature_name: runner(open_session(each.model, threads=threads)) for each in entries}
    else:
        runs = _native_runs(conversion, trusted, threads)
    if conversion.fixed_batch is not None:
        runs = {name: by_batches(run, conversion.fixed_batch) for name, run in runs.items()}
    return runs


def _native_runs(conversion: Conversion, trusted: bool, threads: int) -> dict[str, Run]:
    signatures = signatures_of(conversion)
    model = load_native(conversion.runtime, conversion.model.parent, signatures, threads=threads, trusted=trusted)
    return {name: partial(model.run, signature=name) for name in signatures}
