"""`onegate up FILE` of a page, where one gateway runs for all pages: its models become that gateway's desired state.

What only a start can set (addresses, access, the store) stays as the gateway has it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

START_ONLY = ("store", "gateway", "access", "signing")


def main(path: Path) -> int:
    """Applies the models of the config at `path`; returns the exit code of `onegate apply`."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    running = yaml.safe_load(Path(os.environ["PAGES_GATEWAY"]).read_text(encoding="utf-8"))
    for key in START_ONLY:
        config.pop(key, None)
    config |= {key: running[key] for key in START_ONLY if key in running}
    applied = path.with_name(f"applied-{path.name}")
    applied.write_text(yaml.safe_dump(config), encoding="utf-8")
    return subprocess.run(["onegate", "apply", applied], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
