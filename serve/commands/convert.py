"""`onegate convert SOURCE`."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import click
import msgspec
from pydantic import ValidationError

from converters.base import ConversionOptions
from converters.publish import Published, convert_and_publish
from model_store.errors import ConfigError, OnegateError
from model_store.manifest import DATATYPES, TensorSpec
from model_store.signing import sign
from model_store.signing_keys import read_private_key
from model_store.sources import resolve_source
from model_store.store import Store
from serve.commands.config_files import read_config
from serve.commands.options import fail, json_option, store_option
from serve.commands.parity_report import print_report
from serve.commands.progress import progress
from serve.config import config_keys
from serve.config_sections.model import ModelConfig
from serve.control.preparation import conversion_limits, conversion_options


def _input_spec(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[TensorSpec, ...] | None:
    specs = []
    for value in values:
        found = re.fullmatch(r"([^:]+):([A-Z0-9]+):((?:-?\d+(?:,-?\d+)*)?)", value)
        if not found or found[2] not in DATATYPES:
            raise click.BadParameter(f"expected NAME:DATATYPE:DIMS as x:FP32:-1,3,32,32, got {value!r}")
        specs.append(TensorSpec(found[1], found[2], tuple(int(size) for size in found[3].split(",") if size)))
    return tuple(specs) or None


def _choices(key: str) -> click.Choice[str]:
    """What the config admits under `convert`."""
    return click.Choice(config_keys()[f"models[].convert.{key}"].choices)


@click.command()
@click.argument("source")
@click.option("--name", help="Name of the model; by default the source's file name without its ending.")
@store_option
@click.option("--trust", is_flag=True, help="Code inside the source, as in a pickle, may run.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME:DATATYPE:DIMS",
    callback=_input_spec,
    help="An input, for sources that carry no shapes; -1 for a dimension that may differ, nothing for a scalar.",
)
@click.option("--examples", type=click.Path(path_type=Path), help="An .npz of real inputs by name, rows first.")
@click.option("--labels", type=click.Path(path_type=Path), help="A file with the names of the classes, one a line.")
@click.option("--module", metavar="PACKAGE.MODULE:FACTORY", help="What makes the module of a PyTorch state dict.")
@click.option("--to", type=_choices("to"), help="native: the framework's own runtime, without ONNX.")
@click.option(
    "--on-failure",
    type=_choices("on_failure"),
    help="Where ONNX is impossible or not equal. By default native: served in its own framework.",
)
@click.option("--precision", type=_choices("precision"), help="Number format of the converted model.")
@click.option("--against-mxnet", metavar="PYTHON", help="A Python that has MXNet: compare with MXNet itself.")
@click.option("--config", type=click.Path(path_type=Path), help="Take the options of model --name from this config.")
@click.option(
    "--sign-with", metavar="FILE", type=click.Path(path_type=Path), help="Sign the version with the key in this file."
)
@json_option
def command(
    source: str,
    name: str | None,
    store: str,
    trust: bool,
    config: Path | None,
    sign_with: Path | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Convert SOURCE to ONNX, prove that it computes the same, and store it as a version.

    What can't be proven equal is stored for its framework's own runtime, and the report says why.

    \b
    Example:
      onegate convert digits.pt2 --name digits --store ./store
      onegate convert net.pth --module nets:build --input x:FP32:-1,3,32,32
    """
    name = name or re.sub(r"[^A-Za-z0-9._-]", "-", Path(source.rstrip("/")).stem).lstrip("._-") or "model"
    model = _model(config, name)
    options = _options(model, trust, asked)
    try:
        private_key = read_private_key(sign_with) if sign_with else None
        opened = Store.open(store)
        with tempfile.TemporaryDirectory(prefix="onegate-source-") as folder, progress() as line:
            path = resolve_source(source, Path.cwd(), Path(folder))
            published = convert_and_publish(
                opened, name, path, options, on_progress=line.show, limits=conversion_limits(model)
            )
            if private_key is not None:
                sign(opened, name, published.manifest.version, private_key)
    except OnegateError as error:
        if not as_json:
            raise
        click.echo(json.dumps(_failure(name, error)))
        click.echo(f"onegate: {error.message}", err=True)
        fail()
    if as_json:
        click.echo(json.dumps(_success(published)))
    else:
        _print_report(published)


def _model(config: Path | None, name: str) -> ModelConfig:
    if config is None:
        try:
            return ModelConfig(name=name, source="-")
        except ValidationError as error:
            wanted = error.errors()[0]["msg"]
            raise ConfigError(f"no model can be called {name!r:.250}: {wanted}; --name NAME gives another") from error
    given = read_config(config)
    given.tell()
    named = {model.name: model for model in given.config.models}
    if name not in named:
        raise ConfigError(f"{config}: no model {name!r}; models: {', '.join(named) or 'none'}; --name picks one")
    return named[name]


def _options(model: ModelConfig, trust: bool, asked: dict[str, Any]) -> ConversionOptions:
    """The config's options, and over them what the command line says."""
    options = conversion_options(model)
    said = {key: value for key, value in asked.items() if value is not None}
    said |= {key: str(said[key]) for key in ("examples", "labels") if key in said}
    if "module" in said and options.code_folder is None:
        said["code_folder"] = str(Path.cwd())
    return msgspec.structs.replace(options, trust=trust or options.trust, **said)


def _success(published: Published) -> dict[str, Any]:
    manifest = published.manifest
    signature = manifest.signatures[manifest.default_signature]
    return {
        "name": manifest.name,
        "version": manifest.version,
        "framework": manifest.framework,
        "runtime": manifest.runtime,
        "onnx": manifest.runtime == "onnx",
        "opset": manifest.opset,
        "parity": msgspec.to_builtins(manifest.parity),
        "row_independent": manifest.row_independent,
        "inputs": msgspec.to_builtins(signature.inputs),
        "outputs": msgspec.to_builtins(signature.outputs),
        "seconds": manifest.seconds,
        "reason": manifest.reason,
        "converted": published.converted,
    }


def _failure(name: str, error: OnegateError) -> dict[str, Any]:
    empty = dict.fromkeys(("version", "framework", "runtime", "opset", "parity", "row_independent", "seconds"))
    return {
        "name": name,
        **empty,
        "onnx": False,
        "inputs": [],
        "outputs": [],
        "reason": error.message,
        "kind": type(error).__name__,
    }


def _print_report(published: Published) -> None:
    manifest = published.manifest
    verb = "converted to" if manifest.runtime == "onnx" else "made into"
    verb = verb if published.converted else "was converted before:"
    click.echo(f"{manifest.name}: {manifest.framework} {verb} version {manifest.version} ({manifest.seconds:.1f} s)")
    print_report(manifest)
