"""Making a converted model smaller: float16 inside, or int8 weights; and how exact each precision has to be.

Public names and datatypes stay as they are. How it is done is in `float16.py` and `quantising.py`; whether the smaller
model is still right is the parity gate's to say.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from converters.base import Conversion, ConversionOptions
from converters.graph import open_session, runner
from converters.samples import Samples, batch_near
from model_store.errors import ConversionError, first_line


@dataclass(frozen=True)
class Tolerance:
    """How far a converted model may be from its source."""

    rtol: float
    """Largest error of a floating output, relative to its own scale."""
    class_agreement: float | None
    """Smallest share of rows whose class (arg-max, integer or text) is the same; None where numbers alone count and
    integers and text must be equal."""


TOLERANCES: dict[str, Tolerance] = {
    "float32": Tolerance(rtol=1e-4, class_agreement=None),
    "float16": Tolerance(rtol=1e-2, class_agreement=0.99),
    "int8": Tolerance(rtol=0.1, class_agreement=0.95),
}
"""Precision -> what the gate asks unless the config says otherwise."""


def reduce_precision(conversion: Conversion, options: ConversionOptions, samples: Samples, folder: Path) -> Conversion:
    """The conversion with its graphs in `options.precision`, written into the new `folder`; signature and reference
    stay. `samples` are inputs that the default signature's graph accepts.

    Raises `ConversionError` when nothing in a graph could be made smaller, or ONNX Runtime does not run the result;
    `ConfigError` when the calibration data do not fit.
    """
    folder.mkdir(parents=True)
    reduced = [_reduced(each, options, folder) for each in (conversion, *conversion.others)]
    _check_runs(reduced[0], options.precision, samples)
    return dataclasses.replace(reduced[0], others=tuple(reduced[1:]))


def _reduced(conversion: Conversion, options: ConversionOptions, folder: Path) -> Conversion:
    # The gate takes its tolerances from here, and these two load ONNX's tools.
    from converters.float16 import to_float16
    from converters.quantising import to_int8

    target = folder / conversion.model.name
    if options.precision == "float16":
        to_float16(conversion.model, target)
    else:
        to_int8(conversion, options.calibration, target)
    return dataclasses.replace(conversion, model=target)


def _check_runs(conversion: Conversion, precision: str, samples: Samples) -> None:
    try:
        runner(open_session(conversion.model))(samples.draw(batch_near(conversion, 1), 0))
    except ConversionError:
        raise
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        line = first_line(error)
        raise ConversionError(f"at {precision} the model does not run: {line}; leave it at float32") from error
