"""A model of the config: its source or versions, and what is said of it beside that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from annotated_types import MinLen
from pydantic import ConfigDict, Field

from model_store.manifest import TensorSpec
from serve.config_sections.contradictions import ALL_TRAFFIC
from serve.config_sections.convert import ConvertConfig
from serve.config_sections.processor import ProcessorConfig
from serve.config_sections.rollout import RolloutConfig, Sticky
from serve.config_sections.rules import Alias, Datatype, Dimension, Filled, Framework, Labels, ModelName
from serve.config_sections.section import Section
from serve.config_sections.serve import ServeConfig
from serve.config_sections.store_versions import OrOfTheStore, StoreVersions


class VersionConfig(Section):
    """One of a model's versions side by side: from a source, or from the store by number."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["source"]}, {"required": ["version"]}]})
    PATHS = ("source",)

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
    shadow: bool = Field(
        default=False,
        description="Whether the version only gets copies of calls, whose answers are compared and never returned. "
        "Excludes `traffic`.",
    )
    shadow_percent: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="Percent of the calls that name no version of which a shadow gets copies; by default all.",
    )


if TYPE_CHECKING:
    Versions = list[VersionConfig] | StoreVersions
else:
    Versions = Annotated[list[VersionConfig], MinLen(1), OrOfTheStore()]


class InputConfig(Section):
    """An input of the model, for sources that do not carry it."""

    name: Filled = Field(description="Name of the input, in the order that the model takes them.")
    datatype: Datatype = Field(description="Type of the elements, as the Open Inference Protocol spells it.")
    shape: list[Dimension] = Field(description="Dimensions; -1 for one that differs between requests.")

    def spec(self) -> TensorSpec:
        """The same as the converters take it."""
        return TensorSpec(self.name, self.datatype, tuple(self.shape))


class HandlerConfig(Section):
    """How the handler of an archive runs."""

    COMMANDS = ("python",)

    python: Filled | None = Field(default=None, description="Command of another Python (3.7 or newer) to run it with.")
    batch_size: int | None = Field(
        default=None, ge=1, le=4096, description="Most requests in one call of it; by default what the archive says."
    )


class ModelConfig(Section):
    """A model that clients can call."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["source"]}, {"required": ["versions"]}]})
    PATHS = ("source", "examples", "labels", "code_folder")

    name: ModelName = Field(description="What clients call.")
    source: Filled | None = Field(
        default=None, description="What was exported: a file, a folder or a URL. Excludes `versions`."
    )
    versions: Versions | None = Field(
        default=None,
        description="Several versions side by side, or those that the store has: `all`, or `{latest: N}`; the newest "
        "then gets the traffic, and one that is published later joins. Excludes `source`.",
    )
    sticky: Sticky | None = Field(
        default=None,
        description="Who gets the same version again while `traffic` is shared out; by default nobody: each call is "
        "drawn anew.",
    )
    rollout: RolloutConfig | None = Field(
        default=None,
        description="How a new version that is to have all traffic gets there from the one that has it: by steps, "
        "and back where it does worse. By default at once.",
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
    licence: Filled | None = Field(
        default=None,
        description="Under which licence the model is, best as its SPDX name. A version says what was said when it was "
        "made; one that is there already stays as it is.",
    )
    notes: Filled | None = Field(default=None, description="Anything else that a new version is to say of itself.")
    handler: HandlerConfig = Field(default=HandlerConfig(), description="How an archive's own handler runs.")
    trust: bool = Field(default=False, description="Whether code inside the source, as in a pickle, may run.")
    keep_previous_s: float = Field(
        default=0.0,
        ge=0,
        le=86_400,
        description="Seconds for which versions that were replaced stay loaded, so that a rollback takes no time.",
    )
    convert: ConvertConfig = Field(default=ConvertConfig(), description="How the source becomes an ONNX model.")
    serve: ServeConfig = Field(default=ServeConfig(), description="How the model runs.")

    def wanted_versions(self) -> list[VersionConfig]:
        """The versions to serve, each with its traffic in percent; a model with `source` has one, one whose versions
        the store decides about lists none."""
        if isinstance(self.versions, StoreVersions):
            return []
        versions = self.versions or [VersionConfig(source=self.source)]
        shares = [version.traffic for version in versions]
        if all(share is None for share in shares):
            shares[next((i for i, version in enumerate(versions) if not version.shadow), 0)] = ALL_TRAFFIC
        return [
            version.model_copy(update={"traffic": share or 0}) for version, share in zip(versions, shares, strict=True)
        ]

    def resolved(self, folder: Path) -> Self:
        """As of every section; names of modules are looked up in `folder` unless `code_folder` says where."""
        named = self.code_folder is None and (self.module or self.custom_objects)
        model = self.model_copy(update={"code_folder": "."}) if named else self
        return super(ModelConfig, model).resolved(folder)
