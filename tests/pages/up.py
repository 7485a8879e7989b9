"""`onegate up FILE` of a page, where one gateway runs for all pages: its models become that gateway's desired state.

What only a start can set (addresses, access, the store) stays as the gateway has it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import yaml

from serve.commands.config_files import read_config

START_ONLY = ("store", "gateway", "access", "signing")


def main(path: Path, trusted: tuple[str, ...]) -> int:
    """Applies the models of the config at `path`; returns the exit code of `onegate apply`."""
    given = read_config(path, trusted=trusted)
    given.tell()
    config = given.config.document() if given.imported else yaml.safe_load(path.read_text(encoding="utf-8"))
    running = yaml.safe_load(Path(os.environ["PAGES_GATEWAY"]).read_text(encoding="utf-8"))
    for key in START_ONLY:
        config.pop(key, None)
    config |= {key: running[key] for key in START_ONLY if key in running}
    applied = path.with_name(f"applied-{path.stem}.yaml")
    applied.write_text(yaml.safe_dump(config), encoding="utf-8")
    return subprocess.run(["onegate", "apply", applied], check=False).returncode


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("path", type=Path)
    options.add_argument("--trust", action="append", default=[])
    words = options.parse_args()
    sys.exit(main(words.path, tuple(words.trust)))
