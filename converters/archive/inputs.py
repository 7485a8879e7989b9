"""What the payload's converter must be told and the archive knows: shapes of inputs, and the class of a state dict."""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec

from converters.base import ConversionOptions
from converters.headers import is_pickle, is_torchscript
from model_store.archive_manifest import read_bounded
from model_store.archives import Archive
from model_store.errors import SourceError, TrustRequired
from model_store.manifest import ImageProcessor, Processor, TensorSpec

_LARGEST_MODULE_BYTES = 4 << 20


def options_for(
    archive: Archive,
    payload: Path,
    framework: str,
    processor: Processor | None,
    options: ConversionOptions,
    workdir: Path,
) -> ConversionOptions:
    """The options with what the archive knows, where the user said nothing.

    Raises `TrustRequired` where the class of a state dict is code of the archive and `options.trust` is not set,
    `SourceError` where that code defines no class or several.
    """
    parameter = None
    if framework == "pytorch" and archive.manifest.model_file and is_pickle(payload) and options.module is None:
        options, parameter = _with_module(archive, options)
    if options.inputs is not None or options.examples is not None or framework not in ("mxnet", "pytorch"):
        return options
    if archive.signature is not None:
        return msgspec.structs.replace(options, inputs=tuple(map(_with_batch, archive.signature.inputs)))
    if isinstance(processor, ImageProcessor) and processor.height and processor.width:
        parameter = parameter or _script_parameter(payload, options, workdir)
        shape = (-1, 3, processor.height, processor.width)
        return (
            msgspec.structs.replace(options, inputs=(TensorSpec(parameter, "FP32", shape),)) if parameter else options
        )
    return options


def _with_batch(spec: TensorSpec) -> TensorSpec:
    """The first dimension is the batch: MMS writes 0, or 1 as it was bound."""
    free = spec.shape[:1] in ((0,), (1,))
    return TensorSpec(spec.name, spec.datatype, (-1, *spec.shape[1:])) if free else spec


def _script_parameter(payload: Path, options: ConversionOptions, workdir: Path) -> str | None:
    """The first parameter of a TorchScript module's `forward`; None for other files, which name their inputs."""
    if not is_torchscript(payload):
        return None
    from converters.pytorch.exports import vet_or_trust
    from converters.pytorch.loading import load_script
    from converters.pytorch.script import parameters_of
    from converters.pytorch.script_archive import vet_script

    vetted = workdir / "payload-vetted.pt"
    vet_or_trust(vet_script, payload, vetted, trust=options.trust)
    parameters = parameters_of(load_script(vetted, payload.name))
    vetted.unlink()
    return parameters[0].name if parameters else None


def _with_module(archive: Archive, options: ConversionOptions) -> tuple[ConversionOptions, str | None]:
    """With the one class of the manifest's `modelFile`, as TorchServe takes it, and the name of its input."""
    name = archive.manifest.model_file
    assert name is not None
    if not options.trust:
        raise TrustRequired(
            f"source {archive.source!r} holds weights whose network is code that it carries ({name}): say "
            "`trust: true` for this model to run it, or `module: package.module:factory` for code of your own",
            member=name,
        )
    where = f"source {archive.source!r}: {name!r}"
    network = _only_class(archive.folder / name, where)
    module = name.removesuffix(".py").replace("/", ".")
    found = msgspec.structs.replace(options, module=f"{module}:{network.name}", code_folder=str(archive.folder))
    return found, _forward_parameter(network)


def _only_class(path: Path, where: str) -> ast.ClassDef:
    try:
        tree = ast.parse(read_bounded(path, _LARGEST_MODULE_BYTES, where))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SourceError(f"{where} is no Python that can be read: {error}") from error
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    if len(classes) != 1:
        names = ", ".join(each.name for each in classes) or "none"
        raise SourceError(f"{where}: expected one class, the network, got {names}; say `module:` for this model")
    return classes[0]


def _forward_parameter(network: ast.ClassDef) -> str | None:
    forward = next(
        (node for node in network.body if isinstance(node, ast.FunctionDef) and node.name == "forward"), None
    )
    return forward.args.args[1].arg if forward is not None and len(forward.args.args) > 1 else None
