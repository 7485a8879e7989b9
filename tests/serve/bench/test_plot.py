"""The curve as a page that needs nothing else, and as a picture."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import click
import pytest

from serve.bench.plot import check_plot, write_plot
from tests.serve.bench.test_suggestion import CURVE


def test_a_page_has_both_curves_and_the_knee(tmp_path: Path) -> None:
    write_plot(tmp_path / "curve.html", "digits <1>", CURVE, 8)
    text = (tmp_path / "curve.html").read_text()
    assert "<title>digits &lt;1&gt;</title>" in text
    assert [word for word in ("http://", "https://", "<script", "src=") if word in text] == []
    charts = [ElementTree.fromstring(f"<svg{part.split('</svg>')[0]}</svg>") for part in text.split("<svg")[1:]]
    assert [len(chart.findall("polyline")) for chart in charts] == [1, 3]
    assert all(len((line.get("points") or "").split()) == 6 for line in charts[1].findall("polyline"))
    assert all("8 (knee)" in [label.text for label in chart.findall("text")] for chart in charts)
    assert "<td>8</td><td>400</td>" in text


def test_a_picture_is_drawn_where_matplotlib_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_plot(tmp_path / "curve.png", "digits", CURVE, 8)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_without_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(click.UsageError, match=r"pip install 'onegate\[bench\]', or name a .html"):
        check_plot(tmp_path / "curve.png")


@pytest.mark.parametrize(("name", "told"), [("curve.gif", "ends in .html or .png"), ("absent/curve.html", "no folder")])
def test_a_name_that_can_not_be_written_is_refused(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(click.UsageError, match=told):
        check_plot(tmp_path / name)
