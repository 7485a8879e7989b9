"""The release's version, from the installed distribution: `pyproject.toml` is the one place that states it."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("onegate")
except PackageNotFoundError:  # run from a source tree that was never installed
    VERSION = "0+unknown"
