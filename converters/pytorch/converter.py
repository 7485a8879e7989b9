"""PyTorch: programs of torch.export (`.pt2`), TorchScript, state dicts and pickled modules, to ONNX.

Which kind a source is, is told here from the names of its members; what a kind offers is in `exports.py` and
`modules.py`. Archives are vetted before PyTorch sees them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from converters.base import Conversion, ConversionOptions, Converter
from converters.graph import open_session, read_signature
from converters.headers import is_torch_pickle, is_torchscript, read_head, zip_members
from converters.pickles import TORCH_MAGIC
from model_store.errors import ConversionError, SourceError
from model_store.manifest import Signature

if TYPE_CHECKING:
    from converters.pytorch.exports import Export


class PyTorchConverter(Converter):
    """What `torch.export.save`, `torch.jit.save` and `torch.save` write."""

    framework = "pytorch"
    extra = "torch"
    kinds = (
        "a PyTorch program saved by torch.export.save (.pt2), TorchScript (.pt), "
        "or weights (.pth) with the `module` that they belong to"
    )
    revision = 2

    def detects(self, source: Path) -> bool:
        """By the names of a zip's members, or the first bytes of the older torch.save."""
        return _is_program(source) or is_torchscript(source) or is_torch_pickle(source) or _is_legacy_pickle(source)

    def alternatives(self, source: Path, options: ConversionOptions, workdir: Path) -> Iterator[Conversion]:
        """Through torch.export first; TorchScript and modules also through the exporter that reads TorchScript.

        Raises `ConfigError` that says what to declare where the source does not tell its inputs.
        """
        export = _read(source, options, workdir)
        failures: list[ConversionError] = []
        made = 0
        graphs = export.graphs(workdir)
        while True:
            try:
                model = next(graphs, None)
                if model is None:
                    break
                signature = read_signature(open_session(model))
                _check_freedom(signature, export.signature)
            except ConversionError as error:
                failures.append(error)
                continue
            made += 1
            yield _conversion(export, model, signature, "onnx")
        if failures and not made:
            raise failures[0]

    def native(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """The program or TorchScript itself; for modules of the user's, what torch.export or a trace makes."""
        export = _read(source, options, workdir)
        return _conversion(export, export.native(workdir), export.signature, "pytorch")


def _is_program(source: Path) -> bool:
    """The archive holds the program as `<root>/models/<name>.json`, or in PyTorch 2.7 and before at its top."""
    members = zip_members(source)
    return any(name.split("/", 1)[-1].startswith("models/") and name.endswith(".json") for name in members) or (
        "serialized_exported_program.json" in members
    )


def _is_legacy_pickle(source: Path) -> bool:
    return read_head(source, len(TORCH_MAGIC)) == TORCH_MAGIC


def _read(source: Path, options: ConversionOptions, workdir: Path) -> Export:
    from converters.pytorch.exports import ProgramExport, ScriptExport

    if _is_program(source):
        return ProgramExport(source, workdir, trust=options.trust)
    if is_torchscript(source):
        return ScriptExport(source, workdir, options)
    return _read_pickle(source, options)


def _read_pickle(source: Path, options: ConversionOptions) -> Export:
    import torch

    from converters.pytorch.loading import load_pickled
    from converters.pytorch.modules import ModuleExport, module_of_weights
    from converters.user_code import first_on_path

    with first_on_path(options.code_folder):
        held = load_pickled(source, source.name, trust=options.trust)
    if isinstance(held, Mapping):
        held = module_of_weights(held, options, source.name)
    if not isinstance(held, torch.nn.Module):
        raise SourceError(
            f"source {source.name!r} holds {type(held).__name__}; expected a state dict or a torch.nn.Module"
        )
    return ModuleExport(held.eval(), source.name, options)


def _check_freedom(found: Signature, wanted: Signature) -> None:
    """An exporter may fix a dimension that is free in the source; the next way may not."""
    given = {spec.name: spec for spec in found.inputs}
    for spec in wanted.inputs:
        for axis, size in enumerate(spec.shape):
            if size == -1 and given[spec.name].shape[axis] != -1:
                raise ConversionError(
                    f"the exporter fixes dimension {axis} of input {spec.name!r} at {given[spec.name].shape[axis]}, "
                    "which is dynamic in the source"
                )


def _conversion(export: Export, model: Path, signature: Signature, runtime: str) -> Conversion:
    import torch

    state = " as if just loaded" if export.keeps_state else ""
    return Conversion(
        model=model,
        signature=signature,
        reference=export.answer,
        reference_name=f"pytorch {torch.__version__.split('+')[0]}{state}",
        runtime=runtime,
        libraries=_versions(),
        ranges=export.ranges,
        choices=export.choices,
    )


def _versions() -> dict[str, str]:
    import onnx
    import onnxscript
    import torch

    return {"torch": str(torch.__version__), "onnxscript": onnxscript.__version__, "onnx": onnx.__version__}
