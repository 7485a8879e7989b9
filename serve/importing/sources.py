"""Which file or folder of an old server's is the source of a model, and where the paths of its configuration lead."""

from __future__ import annotations

from pathlib import Path

from converters.base import detect
from model_store.companions import companion
from model_store.errors import OnegateError, SourceError, TrustRequired


def source_problem(source: Path) -> str | None:
    """Why the source can't be served; None where it can, by its first bytes. Needed trust is no problem here."""
    try:
        detect(source, trust=True)
    except (OnegateError, OSError) as error:
        return error.message if isinstance(error, OnegateError) else f"{source.name!r} can't be read: {error.strerror}"
    return None


def source_in(folder: Path) -> Path:
    """The source in a version's folder: the folder itself, or the only file in it that can be served.

    Raises `SourceError` where there is none, or more than one.
    """
    problem = source_problem(folder)
    if problem is None:
        return folder
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    served = [path for path in files if source_problem(path) is None]
    if len(served) == 1 or (served and companion(served[0]) in served[1:]):
        return served[0]
    if served:
        names = ", ".join(path.name for path in served)
        raise SourceError(f"{folder.name!r} holds {len(served)} models ({names}); a version's folder holds one")
    raise SourceError(source_problem(files[0]) or "" if len(files) == 1 else problem)


def located(path: str, folder: Path) -> Path | None:
    """The folder that an old configuration in `folder` means by `path`: a path of another machine, or of a container,
    is looked for below `folder` by its last parts. None where there is none."""
    parts = Path(path).parts
    if (folder / path).is_dir():
        return (folder / path).resolve()
    if ".." in parts:
        return None
    inside = (folder.joinpath(*parts[start:]) for start in range(1, len(parts)))
    return next((each.resolve() for each in inside if each.is_dir()), None)


def needs_trust(source: Path) -> bool:
    """Whether the source is read only with `trust: true`, as pickles are."""
    try:
        detect(source)
    except TrustRequired:
        return True
    except (OnegateError, OSError):
        return False
    return False
