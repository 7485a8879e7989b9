"""Operations as edits of desired state: a config and what is asked give another config.

Pure: nothing is read or written here. Every edit is typed by the config's own model, so that what can't be is a
`ConfigError` with the same words as in a file. Sources come admitted (`allowed_sources.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from model_store.errors import Conflict, Forbidden, ModelNotFound
from model_store.generations import Generation
from serve.config import Config, config_of
from serve.config_sections.contradictions import ALL_TRAFFIC
from serve.config_sections.model import ModelConfig
from serve.config_sections.source import KeyPath
from serve.control.model_documents import Document, merged, versions_of, with_settings, with_traffic, with_trust
from serve.operations import LoadModel, ReplaceModels, ScaleModel, SetDefault, UnloadModel

NAME = "the change"
"""What is edited, for messages."""


def _written_number(model: str, version: Document) -> int | None:
    return version.get("version")


def _nothing(model: str) -> Sequence[Document]:
    return ()


@dataclass(frozen=True)
class Known:
    """What edits need to know beside the config.

    `called` gives the text that clients have for a version of a model, None while it has none, and `number` its number
    in the store; `earlier` the model as the newest generation had it that names it; `stored` the numbers of its
    versions in the store, ascending; `following` the versions that one has now which takes what the store has.
    """

    called: Callable[[str, Document], str | None]
    earlier: Callable[[str], Document | None]
    stored: Callable[[str], Sequence[int]]
    number: Callable[[str, Document], int | None] = _written_number
    following: Callable[[str], Sequence[Document]] = _nothing


def load(config: Config, operation: LoadModel, known: Known, made: Document | None = None) -> Config:
    """The config with the model that is to be loaded. `made` is the version that comes with the call, `{"source": ..}`
    or `{"version": number}`; without one the model is what it is, was, or has in the store.

    Raises `ModelNotFound`, `Conflict`, `Forbidden` or `ConfigError`.
    """
    name = operation.model
    assert name is not None, "an archive's own name is looked up before"
    before = _find(config, name)
    if before is not None and operation.version is not None:
        before = required(config, name, known)
    found = _again(before, operation, known) if made is None else _made(before, operation, known, made)
    return with_model(config, with_trust(config.trusted_sources, before, with_settings(found, operation.settings)))


def unload(config: Config, operation: UnloadModel, known: Known) -> Config:
    """The config without the model, or without one version; raises `ModelNotFound` or `Forbidden`."""
    model = required(config, operation.model, known)
    version, versions = operation.version, versions_of(model)
    index = None if version is None else _required_version(model, version, known)
    if len(versions) == 1 or (index is None and not operation.default_version):
        return _with_models(config, [each for each in config.document()["models"] if each["name"] != operation.model])
    if index is None or ModelConfig.model_validate(model).wanted_versions()[index].traffic:
        raise Forbidden(
            f"the version of {operation.model!r} that answers by default stays while there are others; make another "
            "one the default first",
            model=operation.model,
        )
    return with_model(config, {**model, "versions": versions[:index] + versions[index + 1 :]})


def scale(config: Config, operation: ScaleModel, known: Known) -> Config:
    """The config with so many replicas of the model, or with these bounds of them where it has bounds; raises
    `ModelNotFound` or `ConfigError`. All versions of a model are run alike."""
    listed = required(config, operation.model, known)
    if operation.version is not None:
        _required_version(listed, operation.version, known)
    settings: dict[str, Any] = {"replicas": _replicas(listed["serve"]["replicas"], operation)}
    if operation.replicas > 1:
        settings["executor"] = "replicas"
    return with_model(config, merged(_by_name(config)[operation.model] or listed, {"serve": settings}))


def _replicas(present: int | Document, operation: ScaleModel) -> int | Document:
    least = operation.replicas
    if isinstance(present, int):
        return least
    return {**present, "min": least, "max": operation.most or max(present["max"], least)}


def set_default(config: Config, operation: SetDefault, known: Known) -> Config:
    """The config with all of the model's traffic on one version; raises `ModelNotFound`."""
    model = required(config, operation.model, known)
    index = _required_version(model, operation.version, known)
    versions = [
        with_traffic(version, ALL_TRAFFIC if position == index else None)
        for position, version in enumerate(versions_of(model))
    ]
    return with_model(config, with_versions(model, versions)) if len(versions) > 1 else config


def replace_all(config: Config, operation: ReplaceModels) -> Config:
    """The config with these models and no others. One that is there keeps what the operation does not say of it.

    Raises `Forbidden` or `ConfigError`.
    """
    models = []
    for given in operation.models:
        before = _find(config, str(given.get("name")))
        places = {key: given[key] for key in ("name", "source", "versions") if key in given}
        kept = {key: value for key, value in (before or {}).items() if key not in ("source", "versions")}
        settings = {key: value for key, value in given.items() if key not in places}
        models.append(with_trust(config.trusted_sources, before, with_settings({**kept, **places}, settings)))
    return _with_models(config, models)


def restored(config: Config, written: Config, former: Config) -> Config:
    """`config` with what was changed from `former` to `written` taken back, of the models that nobody changed since."""
    now, then, before = (_by_name(each) for each in (config, written, former))
    for name in changed(former, written):
        if now.get(name) == then.get(name):
            now[name] = before.get(name)
    return _with_models(config, [model for model in now.values() if model is not None])


def changed(old: Config, new: Config) -> set[str]:
    """Names of the models that differ."""
    before, after = _by_name(old), _by_name(new)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def added_models(before: Generation | None, number: int, config: Config) -> dict[str, int]:
    """What generation `number` has as `added`: of each model of the config the generation since which it is desired
    without a break, by what the one `before` says."""
    since = (
        {}
        if before is None
        else {model["name"]: before.added.get(model["name"], 0) for model in before.config["models"]}
    )
    return {model.name: since.get(model.name, number) for model in config.models}


def is_overtaken(former: Config, written: Config, now: Config, name: str) -> bool:
    """Whether the model, or a version that came to it from `former` to `written`, is not in the config of `now`."""
    before, then, after = (_places(_find(config, name)) for config in (former, written, now))
    return _find(now, name) is None or not then - before <= after


def _places(model: Document | None) -> set[tuple[Any, ...]]:
    versions = [] if model is None else versions_of(model)
    return {tuple(version.get(key) for key in ("source", "version", "as_version")) for version in versions}


def _by_name(config: Config) -> dict[str, Document | None]:
    return {model["name"]: model for model in config.document()["models"]}


def _find(config: Config, name: str) -> Document | None:
    return _by_name(config).get(name)


def required(config: Config, name: str, known: Known) -> Document:
    """The model, raises `ModelNotFound`. One that takes what the store has stands there with what that is now: an edit
    of its versions ends the following."""
    model = _find(config, name)
    if model is None:
        raise ModelNotFound(f"model {name!r} is not loaded", model=name)
    listed = isinstance(model.get("versions") or [], list)
    return model if listed else with_versions(model, known.following(name))


def with_versions(model: Document, versions: Sequence[Document]) -> Document:
    """The model with these versions instead of its own, or of its source."""
    return {key: value for key, value in model.items() if key != "source"} | {"versions": list(versions)}


def _index(model: Document, version: str, known: Known) -> int | None:
    texts = [known.called(model["name"], each) for each in versions_of(model)]
    return texts.index(version) if version in texts else None


def _required_version(model: Document, version: str, known: Known) -> int:
    index = _index(model, version, known)
    if index is None:
        texts = [text for each in versions_of(model) if (text := known.called(model["name"], each))]
        raise ModelNotFound(
            f"model {model['name']!r} has no version {version:.40} in the config; there: "
            f"{', '.join(texts) or 'none yet'}",
            model=model["name"],
            version=version,
        )
    return index


def _again(before: Document | None, operation: LoadModel, known: Known) -> Document:
    """The model without anything new: as it is, as it was, or from the store."""
    name, version = str(operation.model), operation.version
    present = before is not None and (version is None or _index(before, version, known) is not None)
    if before is not None and present:
        _refuse_if_there(operation)
        return before
    model = before or known.earlier(name)
    if model is not None and (version is None or _index(model, version, known) is not None):
        return model
    stored = known.stored(name)
    number = version or (str(stored[-1]) if stored else "")
    if number not in map(str, stored):
        what = f"version {version:.40} of model {name!r}" if version else f"model {name!r}"
        raise ModelNotFound(
            f"{what} is neither in the config, nor was it, nor in the store; give the source that it is to be loaded "
            "from",
            model=name,
        )
    entry = {"version": int(number)}
    return {"name": name, "versions": [entry]} if model is None else with_versions(model, [*versions_of(model), entry])


def _made(before: Document | None, operation: LoadModel, known: Known, made: Document) -> Document:
    """The model with the version that comes with the call: instead of what it has, or beside that under a name. Files
    are the whole model, as Triton's clients mean them."""
    model, version = before or {"name": operation.model}, operation.version
    if version is None or operation.files:
        if before is not None:
            _refuse_if_there(operation)
        if version is None and "source" in made:
            return {key: value for key, value in model.items() if key != "versions"} | dict(made)
        return with_versions(model, [made if version is None else {**made, "as_version": version}])
    entry = {**made, "as_version": version}
    versions, index = versions_of(model), _index(model, version, known)
    if index is None:
        return with_versions(model, [*versions, entry])
    _refuse_if_there(operation)
    kept = {key: value for key, value in versions[index].items() if key in _ROLES}
    return with_versions(model, [*versions[:index], {**kept, **entry}, *versions[index + 1 :]])


_ROLES = ("label", "traffic", "shadow", "shadow_percent")
"""What of a version stays when it is made anew."""


def _refuse_if_there(operation: LoadModel) -> None:
    if not operation.replace:
        what = f"version {operation.version:.40} of model" if operation.version else "model"
        raise Conflict(
            f"{what} {operation.model!r} is loaded already; unload it first",
            model=operation.model,
            version=operation.version,
        )


def with_model(config: Config, model: Document) -> Config:
    """The config with the model, in the place of the one of its name; raises `ConfigError`."""
    models = _by_name(config) | {str(model["name"]): model}
    return _with_models(config, [each for each in models.values() if each is not None])


def _with_models(config: Config, models: Sequence[Document]) -> Config:
    """Raises `ConfigError`, in which models and versions go by what they are called: who asks for an edit never saw
    their places in the list."""
    called: dict[KeyPath, str] = {}
    for index, model in enumerate(models):
        name = called["models", index] = f"model {model.get('name')!r}"
        for place, version in enumerate(versions_of(model)):
            if text := version.get("as_version") or version.get("version") or version.get("source"):
                called["models", index, "versions", place] = f"{name} version {text}"
    return config_of({**config.document(), "models": list(models)}, NAME, called)
