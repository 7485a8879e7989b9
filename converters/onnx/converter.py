"""Plain ONNX: a file, or a folder that holds one with its external data.

Nothing is translated. The model is read (`files.py`), vetted (`vetting.py`), cleaned (`cleaning.py`), made loadable
(`upgrading.py`) and compared with the ONNX reference evaluator where that can run it (`references.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import onnxruntime

from converters.base import Arrays, Conversion, ConversionOptions, Converter
from converters.onnx.cleaning import clean, declare_inputs, narrowed, widen_bfloat16
from converters.onnx.domains import input_ranges
from converters.onnx.files import looks_like_onnx, read_model
from converters.onnx.references import references
from converters.onnx.shapes import declare_outputs
from converters.onnx.upgrading import save_loadable
from converters.onnx.vetting import vet
from converters.samples import INNER_SIZES, Samples, load_examples
from model_store.manifest import TensorSpec


class OnnxConverter(Converter):
    """`.onnx`, external data included."""

    framework = "onnx"
    extra = None
    kinds = "an ONNX file, or a folder of one with its external data"
    revision = 2

    def detects(self, source: Path) -> bool:
        """See `looks_like_onnx`."""
        return looks_like_onnx(source)

    def alternatives(self, source: Path, options: ConversionOptions, workdir: Path) -> Iterator[Conversion]:
        """The same model for each of its references, the best first. Raises `SourceError` for a file that is damaged or
        no valid model, `ConversionError` for what ONNX Runtime does not have or serve."""
        model = read_model(source)
        labels = clean(model)
        vet(model)
        declare_inputs(model, options.inputs or ())
        widened = widen_bfloat16(model)
        ranges = input_ranges(model)
        loaded = save_loadable(model, workdir / "onnx", source.name)
        signature = narrowed(declare_outputs(loaded, ranges), options.inputs or ())
        examples = load_examples(options.examples, signature) if options.examples else {}
        # A scalar is a setting, as a sampling rate is: others than the examples' may well be refused.
        choices = {
            spec.name: examples[spec.name].reshape(1) for spec in signature.inputs if _is_setting(spec, examples)
        }
        samples = Samples(signature, ranges, examples=examples, choices=choices, inner_sizes=INNER_SIZES[0])
        notes = [note for note in (loaded.changed, "widened from bfloat16 to float32" if widened else None) if note]
        for reference, name in references(loaded.path, samples, options.largest_batch, ", ".join(notes) or None):
            yield Conversion(
                loaded.path,
                signature,
                reference,
                name,
                labels=labels,
                libraries=_versions(),
                ranges=ranges,
                choices=choices,
            )


def _is_setting(spec: TensorSpec, examples: Arrays) -> bool:
    return spec.shape == () and spec.name in examples


def _versions() -> dict[str, str]:
    return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
