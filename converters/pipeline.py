"""One conversion from source to a proven version: convert, compare, optimise, measure. Runs inside the sandbox.

What it makes lies in `workdir`; publishing it is `publish.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import onnxruntime

from converters.base import Conversion, ConversionOptions, Converter, load_converter, missing_library
from converters.bodies import BodyOptions
from converters.candidates import candidates, runs_of
from converters.finishing import files_below, optimise_version
from converters.graph import opset_of
from converters.parity import check_parity, merge_reports
from converters.precision import TOLERANCES, reduce_precision
from converters.profile import measure_profile
from converters.proof import Evidence, Proven, acceptable, not_equal
from converters.samples import Samples, make_samples
from model_store.errors import ConfigError, ConversionError, InternalError, Unsupported
from model_store.manifest import HandlerSpec, ParityReport, Processor, Profile, Signature


class ConversionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the sandbox is asked for; it crosses the process boundary as JSON."""

    framework: str
    source: str
    workdir: str
    options: ConversionOptions


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """A proven version: everything of a manifest that the conversion knows."""

    runtime: str
    reason: str | None
    """Why it is not ONNX, where it isn't."""
    files: dict[str, str]
    """Name in the version -> path."""
    signatures: dict[str, Signature]
    default_signature: str
    graphs: dict[str, str]
    optimised: dict[str, str]
    fixed_batch: dict[str, int]
    opset: int | None
    parity: ParityReport | None
    """None for a handler: it is the source's own code, and there is nothing to compare it with."""
    profile: Profile | None
    labels: tuple[str, ...] | None
    libraries: dict[str, str]
    framework: str | None = None
    """Of the model inside, where the source is an archive."""
    processor: Processor | None = None
    handler: HandlerSpec | None = None


def convert_source(request: ConversionRequest, on_progress: Callable[[str], None]) -> Converted:
    """Converts, runs the parity gate, and measures.

    Raises what the converter raises, and `ConversionError` when the gate is not passed: it names output,
    batch, seed, error and tolerance, and carries the report.
    """
    options = request.options
    _check_options(options)
    converter = load_converter(request.framework)
    with missing_library(converter.extra):
        return _Pipeline(converter, Path(request.source), options, Path(request.workdir), on_progress).run()


def _check_options(options: ConversionOptions) -> None:
    if options.precision not in TOLERANCES:
        raise ConfigError(f"convert.precision: {options.precision!r} is not one of {', '.join(TOLERANCES)}")
    if options.to == "native" and options.precision != "float32":
        raise ConfigError(f"convert: precision {options.precision!r} needs `to: onnx`; native models keep their own")


class _Pipeline:
    """The steps of one conversion."""

    def __init__(
        self,
        converter: Converter,
        source: Path,
        options: ConversionOptions,
        workdir: Path,
        on_progress: Callable[[str], None],
    ) -> None:
        self._converter = converter
        self._source = source
        self._options = options
        self._workdir = workdir
        self._on_progress = on_progress
        self._bodies = BodyOptions(options)

    def run(self) -> Converted:
        proven, reason = self._prove()
        on_onnx = proven.conversion.runtime == "onnx"
        if on_onnx and proven.evidence and self._options.precision != "float32":
            proven = self._reduce(proven.conversion, proven.evidence)
        optimised, profile = {}, None
        if evidence := proven.evidence:
            self._on_progress("optimising and measuring")
            optimised = optimise_version(proven.conversion, evidence.samples) if on_onnx else {}
            profile = self._profile(proven.conversion, optimised, evidence)
        return self._converted(proven, reason, optimised, profile)

    def _prove(self) -> tuple[Proven, str | None]:
        """The version, and why it is not ONNX."""
        options = self._options
        if options.to == "native":
            return self._prove_native(), "asked for by `convert: {to: native}`"
        self._on_progress(f"converting from {self._converter.framework}")
        try:
            return self._first_that_passes(self._converter.alternatives(self._source, options, self._workdir)), None
        except ConversionError as failure:
            if not options.may_fall_back:
                raise
            return self._fall_back(failure), failure.message

    def _fall_back(self, failure: ConversionError) -> Proven:
        try:
            return self._prove_native()
        except Unsupported:
            raise failure from None
        except ConversionError as error:
            if error.message == failure.message:
                raise failure from None
            raise ConversionError(
                f"{failure.message}; and it can't be served in its own framework: {error.message}", **failure.details
            ) from error

    def _prove_native(self) -> Proven:
        self._on_progress(f"preparing it for the runtime of {self._converter.framework}")
        return self._first_that_passes(iter([self._converter.native(self._source, self._options, self._workdir)]))

    def _first_that_passes(self, alternatives: Iterator[Conversion]) -> Proven:
        """The first candidate that passes the gate; the first one's failure is raised when none does."""
        failures: list[ConversionError] = []
        for conversion in _those_that_can_be_made(alternatives, failures):
            if conversion.unproven is not None:
                return Proven(conversion, None)
            for candidate in candidates(conversion, self._workdir):
                self._bodies.check(candidate)
                try:
                    evidence = self._try(candidate)
                except ConversionError as error:
                    failures.append(error)
                    continue
                if acceptable(candidate, evidence.parity):
                    return Proven(candidate, evidence)
                failures.append(not_equal(evidence.parity))
        raise failures[0] if failures else InternalError("the converter offered no conversion")

    def _try(self, conversion: Conversion) -> Evidence:
        runs = runs_of(conversion, trusted=self._options.trust)
        samples: list[Samples] = []
        reports: list[ParityReport] = []
        for each in (conversion, *conversion.others):
            samples.append(make_samples(each, self._options))
            run = runs[each.signature_name]
            reports.append(check_parity(each, run, self._options, samples[-1], self._on_progress))
        return Evidence(samples[0], merge_reports(reports))

    def _reduce(self, conversion: Conversion, evidence: Evidence) -> Proven:
        self._on_progress(f"reducing the precision to {self._options.precision}")
        folder = self._workdir / f"onnx-{self._options.precision}"
        reduced = reduce_precision(conversion, self._options, evidence.samples, folder)
        evidence = self._try(reduced)
        if not acceptable(reduced, evidence.parity):
            raise not_equal(evidence.parity)
        return Proven(reduced, evidence)

    def _profile(self, conversion: Conversion, optimised: dict[str, str], evidence: Evidence) -> Profile:
        options = self._options
        return measure_profile(conversion, optimised, evidence.samples, options.largest_batch, trusted=options.trust)

    def _converted(
        self, proven: Proven, reason: str | None, optimised: dict[str, str], profile: Profile | None
    ) -> Converted:
        conversion = proven.conversion
        folder = conversion.model.parent
        on_onnx = conversion.runtime == "onnx"
        entries = (conversion, *conversion.others)
        return Converted(
            runtime=conversion.runtime,
            reason=conversion.unproven or reason,
            files=files_below(folder),
            signatures=self._bodies.signatures(conversion),
            default_signature=conversion.signature_name,
            graphs={each.signature_name: each.model.name for each in entries} if on_onnx else {},
            optimised=optimised,
            fixed_batch={each.signature_name: each.fixed_batch for each in entries if each.fixed_batch is not None},
            opset=opset_of(conversion.model) if on_onnx else None,
            parity=proven.evidence.parity if proven.evidence else None,
            profile=profile,
            framework=conversion.framework,
            processor=self._bodies.processor(conversion),
            handler=conversion.handler,
            labels=self._bodies.labels(conversion),
            libraries={**conversion.libraries, "onnxruntime": onnxruntime.__version__},
        )


def _those_that_can_be_made(
    alternatives: Iterator[Conversion], failures: list[ConversionError]
) -> Iterator[Conversion]:
    """Those of a converter's alternatives that it can make; what it raises for the others is noted."""
    while True:
        try:
            conversion = next(alternatives, None)
        except ConversionError as error:
            # A generator that raised is over; one that goes on gives its next at the next call.
            failures.append(error)
            continue
        if conversion is None:
            return
        yield conversion
