"""Folders of numbered versions, as Triton and TensorFlow Serving keep them, and the policy that picks among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve.config_sections.contradictions import ALL_TRAFFIC
from serve.importing.text_format import Message


@dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions on disk are served: the `latest` so many (None: all), or the `specific` ones."""

    latest: int | None = 1
    specific: tuple[int, ...] = ()

    def pick(self, present: Iterable[int]) -> list[int]:
        """Those of `present` that are served, in ascending order."""
        numbers = sorted(set(present))
        if self.specific:
            return [number for number in numbers if number in self.specific]
        return numbers if self.latest is None else numbers[-self.latest :]

    def absent(self, present: Iterable[int]) -> list[int]:
        """The specific versions that are not among `present`."""
        return sorted(set(self.specific).difference(present))


ALL_VERSIONS = VersionPolicy(latest=None)


def policy_of(message: Message) -> VersionPolicy:
    """The policy as Triton and TensorFlow Serving spell it alike: `specific`, `all` or `latest`. Raises `SourceError`
    for numbers that are none."""
    if "specific" in message:
        return VersionPolicy(specific=tuple(message.message("specific").numbers("versions")))
    if "all" in message:
        return ALL_VERSIONS
    return VersionPolicy(latest=message.message("latest").number("num_versions") or 1)


def version_folders(base: Path) -> dict[int, Path]:
    """Number -> folder, of the folders in `base` whose name is a number; none where `base` is no folder."""
    if not base.is_dir():
        return {}
    found = sorted(path for path in base.iterdir() if is_number(path.name) and path.is_dir())
    return {int(path.name): path for path in reversed(found)}


def is_number(name: str) -> bool:
    """Whether a folder of this name is a version."""
    return name.isascii() and name.isdigit() and len(name) <= 19


def versions_mapping(name: str, sources: Mapping[int, str], labels: Mapping[str, int]) -> dict[str, Any]:
    """The config of a model with `sources` by version number, ascending; the largest answers by default.

    Labels of other versions are passed over.
    """
    return {
        "name": name,
        "versions": [
            {"source": source, "as_version": str(number), **_label(number, labels), **_traffic(number, sources)}
            for number, source in sorted(sources.items())
        ],
    }


def _label(number: int, labels: Mapping[str, int]) -> dict[str, Any]:
    found = [label for label, version in labels.items() if version == number]
    return {"label": found[0] if len(found) == 1 else found} if found else {}


def _traffic(number: int, sources: Mapping[int, str]) -> dict[str, int]:
    return {"traffic": ALL_TRAFFIC} if len(sources) > 1 and number == max(sources) else {}
