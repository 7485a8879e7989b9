"""Blocks of the documentation that call a gateway, one for all pages: first what asks the quickstart's models, then each
page's own story. What needs no gateway: `tests/pages/`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.running import Running, running
from tests.pages.blocks import PAGES, ROOT, Block, blocks_of, page_name
from tests.pages.story import Story

def _blocks(page: Path, *kinds: str) -> list[Block]:
    return [block for block in blocks_of(page) if block.kind in kinds]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    config = yaml.safe_load((ROOT / "configs/quickstart.yaml").read_text())
    config["store"] = "store"
    for model in config["models"]:
        for key in ("source", "examples", "labels"):
            if key in model:
                model[key] = str((ROOT / "configs" / model[key]).resolve())
    with running(tmp_path_factory.mktemp("pages"), config) as started:
        started.wait_until_settled()
        yield started


def _story(gateway: Running, folder: Path) -> Story:
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


QUICKSTART = [page for page in PAGES if _blocks(page, "quickstart")]
OWN = [page for page in PAGES if _blocks(page, "gateway")]


@pytest.mark.parametrize("page", QUICKSTART, ids=page_name)
def test_page_calls_the_quickstart_as_it_is_written(page: Path, gateway: Running, tmp_path: Path) -> None:
    _story(gateway, tmp_path).run(_blocks(page, "quickstart"))


@pytest.mark.parametrize("page", OWN, ids=page_name)
def test_page_serves_its_own_models_as_it_is_written(page: Path, gateway: Running, tmp_path: Path) -> None:
    _story(gateway, tmp_path).run(_blocks(page, "run", "gateway", "file"))
