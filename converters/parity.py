"""The parity gate: does the converted model compute what its source computes?

Both run on the same inputs at several batches and seeds; each output's error is taken relative to its own
scale. The same runs show whether the rows of a batch are answered independently, which is what lets the
server merge requests. Refusing to publish what fails is left to `pipeline.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime

from converters.base import Arrays, Conversion, ConversionOptions
from converters.comparison import OutputComparison, equal_rows
from converters.graph import open_session
from converters.samples import Samples, dynamic_batch, fixed_batch, has_inner_dynamic, load_examples
from model_store.errors import ConversionError, OnegateError
from model_store.manifest import ParityReport, Signature

SEEDS = (0, 1)
ROW_RTOL = 1e-5
"""How much a row's answer may move with its company: kernels round differently at different batches."""
INNER_SIZES = ((5, 8), (32, 48), (224, 192))
"""Sizes tried for dynamic dimensions other than the batch, one for each seed: a model that was frozen at one
size fails at the other. Convolutions with strides need the larger ones."""

Run = Callable[[Arrays], dict[str, np.ndarray]]


def make_samples(conversion: Conversion, options: ConversionOptions) -> Samples:
    """The gate's inputs for a conversion, at sizes of dynamic dimensions that its own framework accepts.

    Raises `ConfigError` when the examples do not fit, `ConversionError` when no size is accepted.
    """
    examples = load_examples(options.examples, conversion.signature) if options.examples else {}
    refusal: Exception | None = None
    for sizes in INNER_SIZES:
        samples = Samples(conversion.signature, conversion.ranges, conversion.probes, examples, sizes)
        if not has_inner_dynamic(conversion.signature):
            return samples
        try:
            for seed in SEEDS:
                conversion.reference(samples.draw(1, seed))
            return samples
        except OnegateError:
            raise
        except Exception as error:  # a framework's refusal of a size has no type of its own
            refusal = error
    raise ConversionError(
        f"{conversion.reference_name} accepts no size tried for the dynamic dimensions "
        f"({_first_line(refusal)}); give `examples:` with real inputs"
    )


def gate_batches(signature: Signature, largest_batch: int) -> tuple[int, ...]:
    """1, 3 and the largest; the only one that there is when the model fixes its batch."""
    if not dynamic_batch(signature):
        return (fixed_batch(signature),)
    return tuple(sorted({1, 3, largest_batch}))


def runner(session: onnxruntime.InferenceSession) -> Run:
    """ONNX Runtime as a function from named inputs to named outputs."""
    names = [arg.name for arg in session.get_outputs()]

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        feeds = {name: _text(array) for name, array in inputs.items()}
        return dict(zip(names, map(np.asarray, session.run(names, feeds)), strict=True))

    return run


def _text(array: np.ndarray) -> np.ndarray:
    """ONNX Runtime takes strings as `str`."""
    if array.dtype.kind != "O":
        return array
    texts = np.empty(array.shape, dtype=object)
    texts[...] = [item.decode() for item in array.ravel()] if array.ndim == 1 else np.vectorize(bytes.decode)(array)
    return texts


def check_parity(
    conversion: Conversion,
    options: ConversionOptions,
    samples: Samples,
    on_progress: Callable[[str], None] = lambda _: None,
) -> ParityReport:
    """Runs the gate. The report's `passed` and `reason` say how it ended.

    Raises `ConversionError` when the source's framework or ONNX Runtime can't be run at all.
    """
    run = runner(open_session(conversion.model))
    batches = gate_batches(conversion.signature, options.largest_batch)
    comparisons = [OutputComparison(spec) for spec in conversion.signature.outputs]
    for batch in batches:
        for seed in SEEDS:
            on_progress(f"comparing batch {batch}, seed {seed}")
            inputs = samples.draw(batch, seed)
            _compare(conversion, run, inputs, comparisons, f"batch {batch}, seed {seed}")
    failures = [text for text in (each.failure(options.rtol) for each in comparisons) if text]
    on_progress("comparing rows of a batch with rows alone")
    independent = not failures and rows_independent(run, conversion.signature, samples, batches[-1])
    return _report(conversion, options, batches, comparisons, failures, independent)


def _report(
    conversion: Conversion,
    options: ConversionOptions,
    batches: tuple[int, ...],
    comparisons: Sequence[OutputComparison],
    failures: Sequence[str],
    independent: bool,
) -> ParityReport:
    results = tuple(each.result() for each in comparisons)
    return ParityReport(
        passed=not failures,
        max_abs_error=max((each.max_abs_error for each in results), default=0.0),
        max_rel_error=max((each.max_rel_error for each in results), default=0.0),
        rtol=options.rtol,
        batches=batches,
        seeds=SEEDS,
        outputs=results,
        reference=conversion.reference_name,
        row_independent=independent,
        reason="; ".join(failures) or None,
    )


def _compare(
    conversion: Conversion, run: Run, inputs: Arrays, comparisons: Sequence[OutputComparison], label: str
) -> None:
    reference = _call(conversion.reference, inputs, conversion.reference_name, label)
    converted = _call(run, inputs, "ONNX Runtime", label)
    for comparison in comparisons:
        name = comparison.spec.name
        if name not in reference:
            raise ConversionError(
                f"output {name!r} of the converted model is unknown to {conversion.reference_name}, "
                f"which gives {', '.join(reference)}"
            )
        comparison.add(np.asarray(reference[name]), converted[name], label)


def _call(run: Run, inputs: Arrays, who: str, label: str) -> dict[str, np.ndarray]:
    try:
        return run(inputs)
    except OnegateError:
        raise
    except Exception as error:  # every framework has errors of its own
        raise ConversionError(f"{who} fails at {label}: {_first_line(error)}") from error


def _first_line(error: Exception | None) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def rows_independent(run: Run, signature: Signature, samples: Samples, batch: int) -> bool:
    """Whether each row of a batch is answered as if it came alone.

    Rows of one batch are run alone, and again at another place among other rows. False as well when the batch
    is fixed, or an input or output has no batch dimension.
    """
    specs = (*signature.inputs, *signature.outputs)
    if batch < 2 or any(spec.shape[:1] != (-1,) for spec in specs):
        return False
    size = samples.inner_sizes[0]
    first, second = samples.draw(batch, 0, inner_size=size), samples.draw(batch, 1, inner_size=size)
    together = run(first)
    scales = {name: _scale(array) for name, array in together.items()}

    def same(answer: Arrays, place: int, row: int) -> bool:
        return all(
            equal_rows(together[name][row : row + 1], answer[name][place : place + 1], scales[name], ROW_RTOL)
            for name in together
        )

    for row in sorted({0, batch // 2, batch - 1}):
        place = (row + 1) % batch
        alone = run({name: array[row : row + 1] for name, array in first.items()})
        mixed = {name: array.copy() for name, array in second.items()}
        for name, array in mixed.items():
            array[place] = first[name][row]
        if not same(alone, 0, row) or not same(run(mixed), place, row):
            return False
    return True


def _scale(array: np.ndarray) -> float:
    if array.dtype.kind != "f":
        return 1.0
    return float(np.abs(array[np.isfinite(array)].astype(np.float64)).max(initial=0))
