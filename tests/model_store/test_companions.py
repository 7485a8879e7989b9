"""The two files of an MXNet model, named by either of them or by their prefix."""

from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from model_store.companions import companion, companion_name, meant_by_prefix
from model_store.errors import SourceError
from model_store.sources import digest_source, resolve_source

BESIDE = ("net-symbol.json", "net-0000.params", "net-0012.params", "net-best.params", "other-0099.params")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("net-0000.params", "net-symbol.json"),
        ("net-symbol.json", "net-0012.params"),
        ("other-0099.params", None),
        ("net-best.params", None),
        ("net.onnx", None),
    ],
)
def test_companion_of_a_name_is_its_graph_or_its_parameters_of_the_highest_epoch(name: str, expected: str) -> None:
    assert companion_name(name, BESIDE) == expected


def test_prefix_means_the_graph() -> None:
    assert meant_by_prefix("net", BESIDE) == "net-symbol.json"
    assert meant_by_prefix("nothing", BESIDE) is None


def write_pair(folder: Path) -> Path:
    (folder / "net-symbol.json").write_bytes(b"graph")
    (folder / "net-0003.params").write_bytes(b"numbers")
    return folder / "net-0003.params"


def test_digest_counts_both_files_whichever_is_named(tmp_path: Path) -> None:
    params = write_pair(tmp_path)
    before = digest_source(params), digest_source(tmp_path / "net-symbol.json")
    (tmp_path / "net-symbol.json").write_bytes(b"another graph")
    assert digest_source(params) != before[0]
    params.write_bytes(b"other numbers")
    assert digest_source(tmp_path / "net-symbol.json") != before[1]


def test_local_prefix_resolves_to_the_graph(tmp_path: Path) -> None:
    params = write_pair(tmp_path)
    assert resolve_source("net", tmp_path, tmp_path / "work") == tmp_path / "net-symbol.json"
    assert companion(tmp_path / "net-symbol.json") == params


@pytest.mark.parametrize("named", ["net-0003.params", "net-symbol.json", "net"])
def test_remote_pair_is_downloaded_whole(named: str, tmp_path: Path) -> None:
    root = f"memory://{uuid4().hex}"
    for name, content in (("net-symbol.json", b"graph"), ("net-0003.params", b"numbers")):
        with fsspec.open(f"{root}/{name}", "wb") as file:
            file.write(content)
    found = resolve_source(f"{root}/{named}", tmp_path, tmp_path / "work")
    beside = companion(found)
    assert beside is not None
    assert {found.name: found.read_bytes(), beside.name: beside.read_bytes()} == {
        "net-symbol.json": b"graph",
        "net-0003.params": b"numbers",
    }


def test_prefix_of_nothing_is_told_as_missing(tmp_path: Path) -> None:
    write_pair(tmp_path)
    with pytest.raises(SourceError, match="'nothing' does not exist"):
        resolve_source("nothing", tmp_path, tmp_path / "work")
