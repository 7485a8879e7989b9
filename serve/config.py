"""The typed config: one model of the YAML, the source of its JSON schema and of its reference page.

`load_config` reads a file and what overrides it, `parse_config` reads text that came over the wire. Both
raise one `ConfigError` with every mistake. What a config wants done is the controller's matter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from model_store.manifest import TensorSpec
from serve.config_contradictions import ALL_TRAFFIC, contradictions
from serve.config_keys import ConfigKey, keys_of
from serve.config_layers import COMMAND_LINE, absolute_path, read_config_file, with_environment, with_overrides
from serve.config_mistakes import CONTRADICTION, config_error, translate
from serve.config_processor import ProcessorConfig
from serve.config_rules import (
    Alias,
    Datatype,
    Dimension,
    Filled,
    Framework,
    Host,
    Labels,
    LoopbackHost,
    ModelName,
    Port,
)
from serve.config_source import ConfigSource, read_config_text, render_path


class _Section(BaseModel):
    """A mapping of the config: no unknown keys, no silent conversion, no later change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class GatewayConfig(_Section):
    """Where the endpoint listens and what it admits."""

    host: Host = Field(default="127.0.0.1", description="Address on which the HTTP and gRPC ports listen.")
    http_port: Port = Field(default=8080, description="Port of every HTTP protocol.")
    grpc_port: Port = Field(default=8081, description="Port of every gRPC protocol.")
    management_host: LoopbackHost = Field(
        default="127.0.0.1", description="Address on which the management port listens."
    )
    management_port: Port = Field(default=8082, description="Port of management calls and metrics.")
    replicas: int = Field(default=1, ge=1, le=64, description="Gateway processes that share the ports.")
    max_body_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024,
        le=2**31 - 1,
        description="Largest request body in bytes (64 MiB); larger ones are refused.",
    )
    max_requests: int = Field(
        default=4096,
        ge=1,
        le=1_000_000,
        description="Requests under way in one gateway; more are refused as overload.",
    )
    max_connections: int = Field(
        default=4096, ge=1, le=1_000_000, description="Open HTTP connections of one gateway; more wait to be accepted."
    )
    body_timeout_s: float = Field(
        default=60.0, gt=0, le=3600, description="Seconds in which a request's headers, and then its body, must arrive."
    )
    management_on_endpoint: bool = Field(
        default=False,
        description="Whether calls that load, unload and scale models answer on the HTTP and gRPC ports too.",
    )
    model_folder: Filled | None = Field(
        default=None,
        description="Folder in which management calls find the relative names that they register models from, as "
        "`url=model.mar`; without one such names are refused.",
    )
    model_server: Literal["torchserve", "mms"] = Field(
        default="torchserve",
        description="Whose answers `/ping` and `/models` give where TorchServe and MXNet Model Server differ; mms is "
        "also for SageMaker's multi-model endpoints.",
    )
    drain_timeout_s: float = Field(
        default=30.0,
        ge=0,
        le=3600,
        description="Seconds that running requests get to finish when the gateway stops.",
    )


class VersionConfig(_Section):
    """One of a model's versions side by side: from a source, or from the store by number."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["source"]}, {"required": ["version"]}]})

    source: Filled | None = Field(default=None, description="What was exported: a file, a folder or a URL.")
    version: int | None = Field(
        default=None, ge=1, le=2**31 - 1, description="Number of a version that is in the store already."
    )
    label: Labels | None = Field(default=None, description="Name, or names, by which clients can call this version.")
    as_version: Alias | None = Field(
        default=None,
        description="Version number by which clients know it, as '3' or '1.0', instead of the store's own.",
    )
    traffic: int | None = Field(
        default=None,
        ge=0,
        le=ALL_TRAFFIC,
        description="Percent of the calls that name no version. The model's versions add up to 100; "
        "where none says anything, the first gets all.",
    )


class InputConfig(_Section):
    """An input of the model, for sources that do not carry it."""

    name: Filled = Field(description="Name of the input, in the order that the model takes them.")
    datatype: Datatype = Field(description="Type of the elements, as the Open Inference Protocol spells it.")
    shape: list[Dimension] = Field(description="Dimensions; -1 for one that differs between requests.")

    def spec(self) -> TensorSpec:
        """The same as the converters take it."""
        return TensorSpec(self.name, self.datatype, tuple(self.shape))


class ParityConfig(_Section):
    """How closely the converted model must agree with the source."""

    rtol: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Largest error of an output, relative to the output's own scale; by default 0.0001 for float32, "
        "0.01 for float16 and 0.1 for int8.",
    )
    class_agreement: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Smallest share of rows whose class must agree; by default 0.99 for float16, 0.95 for int8, and "
        "all integers and text equal for float32.",
    )


class HandlerConfig(_Section):
    """How the handler of an archive runs."""

    python: Filled | None = Field(default=None, description="Command of another Python (3.7 or newer) to run it with.")
    batch_size: int | None = Field(
        default=None, ge=1, le=4096, description="Most requests in one call of it; by default what the archive says."
    )


class ConvertConfig(_Section):
    """How the source becomes an ONNX model."""

    to: Literal["onnx", "native"] = Field(
        default="onnx", description="onnx, or native: the framework's own runtime without trying ONNX."
    )
    on_failure: Literal["native", "reject"] = Field(
        default="native",
        description="Where ONNX is impossible or not equal. native: served in its own framework; reject: refused.",
    )
    precision: Literal["float32", "float16", "int8"] = Field(
        default="float32",
        description="float32 leaves the numbers as the source has them; float16 and int8 make the model smaller.",
    )
    calibration: Filled | None = Field(
        default=None, description="An `.npz` file of real inputs by name, rows first, for static int8 quantisation."
    )
    against_mxnet: Filled | None = Field(
        default=None,
        description="Command of a Python that has MXNet: an MXNet model is then compared with MXNet itself.",
    )
    parity: ParityConfig = Field(default=ParityConfig(), description="What the proof of equal answers asks.")
    timeout_s: float = Field(
        default=600.0, gt=0, le=86_400, description="Seconds that a conversion may take; a longer one is ended."
    )
    memory_gib: float = Field(
        default=8.0, gt=0, le=4096, description="GiB of memory that a conversion may use; one that needs more is ended."
    )


class BatchingConfig(_Section):
    """How requests are put together."""

    max_batch_size: int = Field(default=64, ge=1, le=4096, description="Most rows in one run of the model.")
    max_delay_ms: float = Field(
        default=0.0,
        ge=0,
        le=60_000,
        description="Milliseconds to wait for more rows; with 0 nothing waits longer than the model is busy.",
    )
    preferred_batch_sizes: list[Annotated[int, Field(ge=1, le=4096)]] = Field(
        default=[],
        description="Sizes that smaller batches are padded to, for runtimes that are faster at some.",
    )
    max_queue: int = Field(
        default=1024,
        ge=1,
        le=1_000_000,
        description="Most rows that wait in one gateway; more are refused as overload.",
    )


class ServeConfig(_Section):
    """How a model runs."""

    executor: Literal["auto", "inline", "replicas"] = Field(
        default="auto",
        description="inline: in the gateway; replicas: in processes of its own; auto: by measured speed.",
    )
    cpus: int = Field(default=1, ge=1, le=256, description="Processor cores of each replica.")
    replicas: int = Field(default=1, ge=1, le=256, description="Processes that run the model.")
    batching: BatchingConfig = Field(default=BatchingConfig(), description="How requests are put together.")
    deadline_ms: int = Field(
        default=30_000,
        ge=1,
        le=3_600_000,
        description="Milliseconds for a request that sets no deadline itself.",
    )
    cache_mib: int = Field(
        default=0,
        ge=0,
        le=1_048_576,
        description="MiB of answers that each gateway keeps for inputs that come again; 0 keeps none.",
    )
    hedge_ms: float | None = Field(
        default=None,
        gt=0,
        le=3_600_000,
        description="Milliseconds after which a batch that a replica has not answered goes to a second one too.",
    )


class ModelConfig(_Section):
    """A model that clients can call."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["source"]}, {"required": ["versions"]}]})

    name: ModelName = Field(description="What clients call.")
    source: Filled | None = Field(
        default=None, description="What was exported: a file, a folder or a URL. Excludes `versions`."
    )
    versions: list[VersionConfig] | None = Field(
        default=None, min_length=1, description="Several versions side by side. Excludes `source`."
    )
    framework: Framework | None = Field(
        default=None, description="Framework of the source, where its content does not tell."
    )
    inputs: list[InputConfig] | None = Field(
        default=None, min_length=1, description="Inputs, for sources that carry no shapes."
    )
    examples: Filled | None = Field(
        default=None,
        description="An `.npz` file of real inputs by name, rows first, for the proof of equal answers.",
    )
    module: Filled | None = Field(
        default=None,
        description="`package.module:factory`, whose call gives the module that a PyTorch state dict belongs to.",
    )
    custom_objects: dict[str, str] = Field(
        default={}, description="Keras's custom classes and functions: registered name to `package.module:name`."
    )
    code_folder: Filled | None = Field(
        default=None,
        description="Folder from which `module` and `custom_objects` are imported first; by default the config's own.",
    )
    processor: ProcessorConfig | None = Field(
        default=None, description="What serves raw bodies, as pictures; by default what the source itself asks for."
    )
    labels: Filled | None = Field(
        default=None,
        description="A text file with the names of the classes, one a line in the order of the scores, or an "
        "`index_to_name.json`.",
    )
    handler: HandlerConfig = Field(default=HandlerConfig(), description="How an archive's own handler runs.")
    trust: bool = Field(default=False, description="Whether code inside the source, as in a pickle, may run.")
    convert: ConvertConfig = Field(default=ConvertConfig(), description="How the source becomes an ONNX model.")
    serve: ServeConfig = Field(default=ServeConfig(), description="How the model runs.")

    def wanted_versions(self) -> list[VersionConfig]:
        """The versions to serve, each with its traffic in percent; a model with `source` has one."""
        versions = self.versions or [VersionConfig(source=self.source)]
        shares = [version.traffic for version in versions]
        if all(share is None for share in shares):
            shares[0] = ALL_TRAFFIC
        return [
            version.model_copy(update={"traffic": share or 0}) for version, share in zip(versions, shares, strict=True)
        ]


class Config(_Section):
    """The config of onegate: the full desired state."""

    store: Filled = Field(default="./store", description="Folder or URL of the model store.")
    gateway: GatewayConfig = Field(
        default=GatewayConfig(), description="Where the endpoint listens and what it admits."
    )
    allowed_sources: list[Filled] = Field(
        default=["file://*"],
        description="Patterns of paths and URLs that management calls may register models from; `*` is any text.",
    )
    trusted_sources: list[Filled] = Field(
        default=[],
        description="Patterns, as above, of the sources whose own code may run when management calls register them, as "
        "an archive's handler; by default none.",
    )
    models: list[ModelConfig] = Field(description="All models that are served; one that is not listed is retired.")

    @model_validator(mode="after")
    def _without_contradictions(self) -> Self:
        found = list(contradictions(self.document(), default_values()))
        if found:
            lines = "; ".join(f"{render_path(path)}: {problem}" for path, problem in found)
            raise PydanticCustomError(CONTRADICTION, "{lines}", {"lines": lines})
        return self

    def document(self) -> dict[str, Any]:
        """The full state as JSON has it, defaults included; `Config.model_validate` reads it back."""
        return self.model_dump(mode="json", exclude_none=True)

    def resolved(self, folder: Path) -> Config:
        """A copy whose paths are absolute, from `folder` on. URLs stay."""
        models = [_resolved_model(model, folder) for model in self.models]
        changes: dict[str, Any] = {"store": absolute_path(self.store, folder), "models": models}
        if self.gateway.model_folder is not None:
            place = absolute_path(self.gateway.model_folder, folder)
            changes["gateway"] = self.gateway.model_copy(update={"model_folder": place})
        return self.model_copy(update=changes)


def config_keys() -> dict[str, ConfigKey]:
    """All keys by path, as `models[].serve.cpus`."""
    return keys_of(Config)


def default_values() -> dict[str, Any]:
    """Default by path, of all keys."""
    return {path: key.default for path, key in config_keys().items()}


def _resolved_model(model: ModelConfig, folder: Path) -> ModelConfig:
    changes: dict[str, Any] = {
        name: absolute_path(path, folder)
        for name in ("source", "examples", "labels")
        if (path := getattr(model, name)) is not None
    }
    if model.module or model.custom_objects:
        changes["code_folder"] = absolute_path(model.code_folder or ".", folder)
    if model.handler.python is not None:
        changes["handler"] = model.handler.model_copy(update={"python": _command(model.handler.python, folder)})
    inner: dict[str, Any] = {}
    if model.convert.calibration is not None:
        inner["calibration"] = absolute_path(model.convert.calibration, folder)
    if model.convert.against_mxnet is not None:
        inner["against_mxnet"] = _command(model.convert.against_mxnet, folder)
    if inner:
        changes["convert"] = model.convert.model_copy(update=inner)
    if model.versions is not None:
        changes["versions"] = [
            version.model_copy(update={"source": absolute_path(version.source, folder)})
            if version.source is not None
            else version
            for version in model.versions
        ]
    return model.model_copy(update=changes)


def _command(command: str, folder: Path) -> str:
    """A command by its path starts from the folder, as other paths do; a bare name is looked up where it runs."""
    return absolute_path(command, folder) if "/" in command else command


def load_config(
    path: Path | None,
    *,
    overrides: Mapping[str, Any] = MappingProxyType({}),
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """The config in the file at `path`, with absolute paths; None is one without models, in the working folder.

    `overrides` come from the command line, by key path as `gateway.http_port`; None is passed over. They win
    over the environment (`ONEGATE_...`), which wins over the file. Relative paths start from the file's
    folder, those of overrides and environment from the working folder.

    Raises `ConfigError` with all mistakes.
    """
    source = read_config_file(path) if path is not None else read_config_text("models: []", COMMAND_LINE)
    source = with_environment(source, config_keys(), environ)
    source = with_overrides(source, config_keys(), overrides)
    return _typed(source).resolved(Path(os.path.abspath(path)).parent if path is not None else Path.cwd())


def parse_config(text: str, name: str, base: Path) -> Config:
    """The config in `text`, YAML or JSON, with absolute paths from the folder `base` on.

    `name` stands for the text in messages. Neither the environment nor the command line has a say.
    Raises `ConfigError` with all mistakes.
    """
    return _typed(read_config_text(text, name)).resolved(base)


def config_of(document: Mapping[str, Any], name: str) -> Config:
    """The config that `document` holds, with paths as they stand there; `name` stands for it in messages.

    Raises `ConfigError` with all mistakes.
    """
    return _typed(ConfigSource(name, document))


def _typed(source: ConfigSource) -> Config:
    clashes = contradictions(source.value, default_values())
    mistakes = [*source.mistakes, *(source.mistake(path, problem) for path, problem in clashes)]
    config = None
    try:
        config = Config.model_validate(source.value)
    except ValidationError as error:
        noted = {(mistake.place, mistake.path) for mistake in source.mistakes}
        found = translate(error, source, config_keys())
        mistakes += [mistake for mistake in found if (mistake.place, mistake.path) not in noted]
    if config is None or mistakes:
        raise config_error(mistakes, source.name)
    return config
