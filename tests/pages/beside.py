"""A page's story beside a running gateway: its folder, and where its calls go."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.running import Running
from tests.pages.blocks import ROOT
from tests.pages.story import Story


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
        _addresses(gateway),
    )


def _addresses(gateway: Running) -> dict[str, str]:
    """Usual addresses of onegate and of the servers before it -> those of this gateway."""
    management = {f"http://127.0.0.1:{port}": gateway.management for port in (8082, 8002, 8081)}
    http = {f"http://127.0.0.1:{port}": gateway.url for port in (8080, 8000, 8501)}
    grpc = {f"127.0.0.1:{port}": gateway.grpc for port in (8081, 8001, 8500)}
    bare = {f"127.0.0.1:{port}": gateway.url.removeprefix("http://") for port in (8080, 8000)}
    return management | http | grpc | bare
