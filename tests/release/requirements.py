"""What the base install consists of: onegate's requirements and theirs, as they are installed here."""

from __future__ import annotations

from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def base_install(root: str = "onegate") -> dict[str, Distribution]:
    """Name -> distribution of all that `pip install onegate` brings, without `root` itself, by name.

    Raises `importlib.metadata.PackageNotFoundError` when one of them is not installed.
    """
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(root, "")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found[name] = distribution(name)
        for line in found[name].requires or []:
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(need.name), each) for each in ("", *need.extras)]
    del found[root]
    return dict(sorted(found.items()))
