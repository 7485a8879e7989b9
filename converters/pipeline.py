"""One conversion from source to a proven model: convert, compare, profile. Runs inside the sandbox.

What it makes lies in `workdir`; publishing it is `publish.py`'s.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from converters.base import Conversion, ConversionOptions, load_converter
from converters.graph import opset_of
from converters.parity import check_parity, make_samples
from converters.profile import measure_profile
from converters.samples import Samples
from model_store.errors import ConfigError, ConversionError, InternalError
from model_store.manifest import ParityReport, Profile, Signature


class ConversionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the sandbox is asked for; it crosses the process boundary as JSON."""

    framework: str
    source: str
    workdir: str
    options: ConversionOptions


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """A proven model: everything of a manifest that the conversion knows."""

    files: dict[str, str]
    """Name in the version -> path."""
    signature: Signature
    opset: int
    parity: ParityReport
    profile: Profile
    labels: tuple[str, ...] | None
    libraries: dict[str, str]


def convert_source(request: ConversionRequest, on_progress: Callable[[str], None]) -> Converted:
    """Converts, runs the parity gate, and measures.

    Raises what the converter raises, and `ConversionError` when the gate is not passed: it names output,
    batch, seed, error and tolerance, and carries the report.
    """
    options = request.options
    if options.precision != "float32":
        raise ConfigError(f"convert.precision: this release converts at 'float32' only, not {options.precision!r}")
    converter = load_converter(request.framework)
    on_progress(f"converting from {converter.framework}")
    with _missing_library(converter.extra):
        alternatives = converter.alternatives(Path(request.source), options, Path(request.workdir))
        conversion, samples, parity = _first_that_passes(alternatives, options, on_progress)
    on_progress("measuring")
    files = {path.name: str(path) for path in sorted(conversion.model.parent.iterdir())}
    return Converted(
        files=files,
        signature=conversion.signature,
        opset=opset_of(conversion.model),
        parity=parity,
        profile=measure_profile(conversion.model, samples, options.largest_batch),
        labels=conversion.labels,
        libraries=conversion.libraries,
    )


def _first_that_passes(
    alternatives: Iterator[Conversion], options: ConversionOptions, on_progress: Callable[[str], None]
) -> tuple[Conversion, Samples, ParityReport]:
    """The first conversion that passes the gate; the first one's failure is raised when none does."""
    failure: ConversionError | None = None
    while True:
        try:
            conversion = next(alternatives, None)
            if conversion is None:
                break
            samples = make_samples(conversion, options)
            parity = check_parity(conversion, options, samples, on_progress)
        except ConversionError as error:
            # An alternative that can't be made or run leaves the next one its chance; a generator that raised is over.
            failure = failure or error
            continue
        if parity.passed:
            return conversion, samples, parity
        failure = failure or ConversionError(
            f"the converted model does not compute what {parity.reference} computes: {parity.reason}",
            parity=msgspec.to_builtins(_finite(parity)),
        )
    raise failure or InternalError("the converter offered no conversion")


def _finite(report: ParityReport) -> ParityReport:
    """JSON has no infinity; an error with nothing to relate it to is shown as the largest float."""
    largest = float.fromhex("0x1.fffffffffffffp+1023")

    def bound(value: float) -> float:
        return value if math.isfinite(value) else largest

    outputs = tuple(msgspec.structs.replace(each, max_rel_error=bound(each.max_rel_error)) for each in report.outputs)
    return msgspec.structs.replace(report, max_rel_error=bound(report.max_rel_error), outputs=outputs)


@contextlib.contextmanager
def _missing_library(extra: str | None) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        hint = f": pip install 'onegate[{extra}]'" if extra else ""
        raise ConversionError(
            f"the converter needs the library {error.name!r}, which is not installed{hint}"
        ) from error
