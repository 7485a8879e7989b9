"""A page's story beside a running gateway: its folder, and where its calls go."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.running import Running
from tests.pages.blocks import ROOT
from tests.pages.story import Story, addresses


def beside(gateway: Running, folder: Path) -> Story:
    """A folder of its own beside the gateway; the store is the gateway's."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "store").symlink_to(gateway.folder / "store")
    ports = {f"ONEGATE_GATEWAY_{key.upper()}": str(value) for key, value in gateway.config["gateway"].items()}
    return Story(
        folder,
        {
            **gateway.environment,
            **ports,
            "ONEGATE_STORE": str(gateway.folder / "store"),
            "PAGES_GATEWAY": str(gateway.folder / "onegate.yaml"),
            "PYTHONPATH": str(ROOT),
        },
        addresses(gateway.url, gateway.grpc, gateway.management),
    )
