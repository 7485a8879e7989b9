"""Triton's model repository: folders of models with `config.pbtxt` and numbered versions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from serve.importing.base import Imported, ImportedModel, Leftover, Notes, name_problem
from serve.importing.sources import needs_trust, source_problem
from serve.importing.text_format import Message, read_text_format
from serve.importing.triton_keys import FILES, KEYS, PLATFORMS, REFUSED_BACKENDS, REFUSED_FILES
from serve.importing.triton_model import inputs, labels, serve_section
from serve.importing.versions import policy_of, version_folders, versions_mapping

CONFIG = "config.pbtxt"
PORTS = {"http_port": 8000, "grpc_port": 8001, "management_port": 8002}
"""Triton's usual ones; the last is that of its metrics."""
_REMARKS = (
    "Triton's usual ports: its command line may have said others",
    "Triton listens on every address: `host: 0.0.0.0` does so here",
)


def detects(path: Path) -> bool:
    """Whether `path` is a repository, the folder of one model, or a `config.pbtxt`."""
    if path.is_file():
        return path.name == CONFIG
    return is_model(path) or any(is_model(folder) for folder in _folders(path))


def is_model(folder: Path) -> bool:
    """Whether `folder` is one model of a repository: by its `config.pbtxt`, or the names of its versions' files."""
    if (folder / CONFIG).is_file():
        return True
    known = {name for names in FILES.values() for name in names} | set(REFUSED_FILES)
    return any((version / name).exists() for version in version_folders(folder).values() for name in known)


def read(path: Path) -> Imported:
    """All models of a repository. Raises `SourceError` for a `config.pbtxt` that can't be read."""
    folder = path.parent if path.is_file() else path
    folders = [folder] if is_model(folder) else list(_folders(folder))
    models = [read_model(each) for each in folders if is_model(each)]
    others = [Leftover(each.name, "folder", "holds no model of Triton's") for each in folders if not is_model(each)]
    return Imported("Triton model repository", dict(PORTS), models, others, _REMARKS)


def read_model(folder: Path) -> ImportedModel:
    """The model in `folder`, of that name. Raises `SourceError` for a `config.pbtxt` that can't be read."""
    name, file = folder.name, f"{folder.name}/{CONFIG}"
    config = read_text_format(folder / CONFIG, file) if (folder / CONFIG).is_file() else Message(file)
    notes = Notes(file, name)
    backend = _backend(config)
    if problem := _refusal(name, config, backend):
        return ImportedModel(name, None, notes.left_out(*problem))
    notes.unanswered(config.leaves(), KEYS)
    if config.text("name", name) != name:
        notes.add("name", f"{config.text('name')!r} is not the folder's name, which is taken")
    sources = _sources(folder, config, backend, notes)
    if not sources:
        reason = f"no version in {name}/ that the version policy picks can be served"
        return ImportedModel(name, None, notes.left_out("version_policy", reason))
    newest = Path(sources[max(sources)])
    if any(needs_trust(Path(source)) for source in sources.values()):
        notes.needs_trust(newest.name, "a pickle, which may run code")
    mapping = {
        **versions_mapping(name, sources, {}),
        **inputs(config, _effective(backend, newest), notes),
        **labels(folder, config, notes),
        **serve_section(config, notes),
    }
    return ImportedModel(name, mapping, tuple(notes.found))


def _folders(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        return []
    return sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))


def _backend(config: Message) -> str:
    platform = config.text("platform")
    return config.text("backend") or PLATFORMS.get(platform, platform)


def _refusal(name: str, config: Message, backend: str) -> tuple[str, str] | None:
    """Key and reason of what keeps the whole model out."""
    if problem := name_problem(name):
        return "name", problem
    if "ensemble_scheduling" in config:
        return "ensemble_scheduling", REFUSED_BACKENDS["ensemble"]
    if reason := REFUSED_BACKENDS.get(backend):
        return ("backend" if "backend" in config else "platform"), reason
    if "sequence_batching" in config:
        return "sequence_batching", "the model keeps a state between requests, which no replica here does"
    return None


def _sources(folder: Path, config: Message, backend: str, notes: Notes) -> dict[int, str]:
    """Version -> path of its model, of those that the policy picks and that can be served."""
    folders = version_folders(folder)
    policy = policy_of(config.message("version_policy"))
    for number in policy.absent(folders):
        notes.add("version_policy.specific.versions", f"version {number} has no folder")
    sources = {}
    for number in policy.pick(folders):
        found = _model_in(folders[number], config.text("default_model_filename"), backend)
        problem = found if isinstance(found, str) else source_problem(found)
        if isinstance(found, str) or problem is not None:
            notes.add(f"version {number}", f"left out: {problem}", file=f"{folder.name}/{number}")
        else:
            sources[number] = str(found)
    return sources


def _model_in(version: Path, wanted: str, backend: str) -> Path | str:
    """The model's file or folder in a version's folder, or why there is none."""
    if wanted and "/" in wanted:
        return f"default_model_filename {wanted!r} is no name"
    names = (wanted,) if wanted else FILES.get(backend) or tuple(name for names in FILES.values() for name in names)
    found = next((version / name for name in names if (version / name).exists()), None)
    if found is None:
        refused = next((reason for name, reason in REFUSED_FILES.items() if (version / name).exists()), None)
        return refused or f"expected {' or '.join(names)}, found {_listing(version)}"
    # A large ONNX model lies in a folder of the file's name, with its weights beside it.
    inner = found / found.name
    return inner if found.is_dir() and inner.is_file() else found


def _listing(folder: Path) -> str:
    names = sorted(each.name for each in folder.iterdir())
    return ", ".join(names[:5]) + (", .." if len(names) > 5 else "") if names else "nothing"


def _effective(backend: str, source: Path) -> str:
    """The backend, which Triton tells from the file's name where the config does not."""
    return backend or next((known for known, names in FILES.items() if source.name in names), "")
