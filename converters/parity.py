"""The parity gate: does the version that would be served compute what its source computes?

Both run on the same inputs at several batches and seeds, and on unusual inputs; each output's error is taken
relative to its own scale. Whether rows are independent is asked in `independence.py`; what the inputs are is
`samples.py`'s matter, and refusing to publish what fails is `pipeline.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from converters.base import Arrays, Conversion, ConversionOptions, Run
from converters.comparison import OutputComparison
from converters.independence import first_difference, rows_independent
from converters.precision import TOLERANCES, Tolerance
from converters.samples import SEEDS, Samples, gate_batches
from model_store.errors import ConversionError, OnegateError, named_line
from model_store.manifest import EdgeParity, ParityReport

EDGES = ("zeros", "large", "missing")
EDGE_BATCH = 4


def tolerance_of(options: ConversionOptions, source: str = "float32") -> Tolerance:
    """What the gate asks: where the config names no bounds, the usual ones of its precision or of the source's own,
    whichever is coarser."""
    usual = max(TOLERANCES[options.precision], TOLERANCES[source], key=lambda each: each.rtol)
    return Tolerance(
        rtol=options.rtol if options.rtol is not None else usual.rtol,
        class_agreement=options.class_agreement if options.class_agreement is not None else usual.class_agreement,
    )


def check_parity(
    conversion: Conversion,
    run: Run,
    options: ConversionOptions,
    samples: Samples,
    on_progress: Callable[[str], None] = lambda _: None,
) -> ParityReport:
    """Runs the gate on one signature; `run` is the version as it would be served. The report's `passed` and `reason`
    say how it ended.

    Raises `ConversionError` when the source's framework or the version's runtime can't be run at all.
    """
    return _Gate(conversion, run, tolerance_of(options, conversion.precision), samples, on_progress).report(
        options.largest_batch
    )


class _Gate:
    """One signature on its way through the gate."""

    def __init__(
        self,
        conversion: Conversion,
        run: Run,
        tolerance: Tolerance,
        samples: Samples,
        on_progress: Callable[[str], None],
    ) -> None:
        self._conversion = conversion
        self._run = run
        self._tolerance = tolerance
        self._samples = samples
        self._on_progress = on_progress

    def report(self, largest_batch: int) -> ParityReport:
        batches = gate_batches(self._conversion.signature, largest_batch)
        failures = self._indeterminacy(batches[0])
        deterministic = not failures
        comparisons = self._new_comparisons()
        edges: list[EdgeParity] = []
        independent = False
        if deterministic:
            self._compare_batches(comparisons, batches)
            failures = self._failures(comparisons)
        if not failures:
            edges = [edge for kind in EDGES if (edge := self._edge(kind, batches))]
            failures = [f"with inputs of kind {e.kind!r}: {e.outcome}" for e in edges if not self._forgiven(e)]
        if not failures:
            self._on_progress("comparing rows of a batch with rows alone")
            independent = rows_independent(self._run, self._conversion.signature, self._samples, batches[-1])
        return self._summary(comparisons, batches, failures, independent, deterministic, edges)

    def _new_comparisons(self) -> list[OutputComparison]:
        exact = self._tolerance.class_agreement is None
        return [OutputComparison(spec, exact=exact) for spec in self._conversion.signature.outputs]

    def _failures(self, comparisons: Sequence[OutputComparison]) -> list[str]:
        return [text for text in (each.failure(self._tolerance) for each in comparisons) if text]

    def _indeterminacy(self, batch: int) -> list[str]:
        """A model that answers differently each time (sampling, dropout left on) has nothing to be equal to."""
        inputs = self._samples.draw(batch, 0)
        for who, run in ((self._conversion.reference_name, self._conversion.reference), ("the version", self._run)):
            first, second = (_call(run, inputs, who, f"batch {batch}, seed 0") for _ in range(2))
            if name := first_difference(first, second):
                return [f"{who} answers the same inputs differently each time, the first in output {name!r}"]
        return []

    def _compare_batches(self, comparisons: Sequence[OutputComparison], batches: tuple[int, ...]) -> None:
        for batch in batches:
            # Large batches of large models take seconds; what a seed can show, the small ones show.
            for seed in SEEDS if batch <= EDGE_BATCH else SEEDS[:1]:
                self._on_progress(f"comparing batch {batch}, seed {seed}")
                label = f"batch {batch}, seed {seed}"
                inputs = self._samples.draw(batch, seed)
                reference = _call(self._conversion.reference, inputs, self._conversion.reference_name, label)
                self._compare(comparisons, reference, inputs, label)

    def _compare(self, comparisons: Sequence[OutputComparison], reference: Arrays, inputs: Arrays, label: str) -> None:
        converted = _call(self._run, inputs, "the converted model", label)
        for comparison in comparisons:
            name = comparison.spec.name
            if name not in reference:
                raise ConversionError(
                    f"output {name!r} of the converted model is unknown to {self._conversion.reference_name}, "
                    f"which gives {', '.join(reference)}"
                )
            comparison.add(np.asarray(reference[name]), np.asarray(converted[name]), label)

    def _edge(self, kind: str, batches: tuple[int, ...]) -> EdgeParity | None:
        self._on_progress(f"comparing inputs of kind {kind!r}")
        batch = batches[0] if len(batches) == 1 else EDGE_BATCH
        inputs = self._samples.edge(kind, batch)
        if inputs is None:
            return None
        name = self._conversion.signature_name
        try:
            reference = self._conversion.reference(inputs)
        except Exception:  # scikit-learn refuses NaN, others overflow; nothing can be compared then
            return EdgeParity(kind, "refused", name)
        comparisons = self._new_comparisons()
        try:
            self._compare(comparisons, reference, inputs, f"batch {batch}")
        except ConversionError as error:
            return EdgeParity(kind, error.message, name)
        outcome = "; ".join(self._failures(comparisons)) or "equal"
        if outcome != "equal" and self._source_is_unsteady(inputs, reference):
            outcome = "unsteady"
        return EdgeParity(kind, outcome, name)

    def _source_is_unsteady(self, inputs: Arrays, reference: Arrays) -> bool:
        """Whether the source itself answers such a row differently when it comes alone: there is nothing to be equal to
        then, as where rounding of equal numbers decides."""
        if any(spec.shape[:1] != (-1,) for spec in self._conversion.signature.inputs):
            return False
        alone = self._conversion.reference({name: array[:1] for name, array in inputs.items()})
        comparisons = self._new_comparisons()
        for comparison in comparisons:
            name = comparison.spec.name
            comparison.add(np.asarray(reference[name])[:1], np.asarray(alone[name]), "one row")
        return bool(self._failures(comparisons))

    def _forgiven(self, edge: EdgeParity) -> bool:
        """Told and not held against the version: NaN where it has no meaning to the model, as what comes out differs
        between kernels; and values that a narrower number format can't hold."""
        if edge.outcome in ("equal", "refused", "unsteady"):
            return True
        if edge.kind == "missing":
            return not self._conversion.accepts_missing
        return edge.kind == "large" and self._tolerance.class_agreement is not None

    def _summary(
        self,
        comparisons: Sequence[OutputComparison],
        batches: tuple[int, ...],
        failures: Sequence[str],
        independent: bool,
        deterministic: bool,
        edges: Sequence[EdgeParity],
    ) -> ParityReport:
        results = tuple(each.result(self._conversion.signature_name) for each in comparisons)
        return ParityReport(
            passed=not failures,
            max_abs_error=max((each.max_abs_error for each in results), default=0.0),
            max_rel_error=max((each.max_rel_error for each in results), default=0.0),
            rtol=self._tolerance.rtol,
            batches=batches,
            seeds=SEEDS,
            outputs=results,
            reference=self._conversion.reference_name,
            row_independent=independent,
            reason="; ".join(failures) or None,
            deterministic=deterministic,
            edges=tuple(edges),
            class_agreement=self._tolerance.class_agreement,
        )


def merge_reports(reports: Sequence[ParityReport]) -> ParityReport:
    """One report of all signatures of a version; the first is the default's."""
    return msgspec.structs.replace(
        reports[0],
        passed=all(each.passed for each in reports),
        max_abs_error=max(each.max_abs_error for each in reports),
        max_rel_error=max(each.max_rel_error for each in reports),
        outputs=tuple(output for each in reports for output in each.outputs),
        row_independent=all(each.row_independent for each in reports),
        reason="; ".join(each.reason for each in reports if each.reason) or None,
        deterministic=all(each.deterministic for each in reports),
        edges=tuple(edge for each in reports for edge in each.edges),
    )


def _call(run: Run, inputs: Arrays, who: str, label: str) -> dict[str, np.ndarray]:
    try:
        return run(inputs)
    except OnegateError:
        raise
    except Exception as error:  # every framework has errors of its own
        raise ConversionError(f"{who} fails at {label}: {named_line(error)}") from error
