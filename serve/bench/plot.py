"""The curve of a benchmark as a page of its own (HTML with SVG inside), or as a PNG where matplotlib is installed."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path

import click

from serve.bench.steps import Step

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 300, 70, 20, 20, 45

Line = tuple[str, str, list[float]]
"""Name, colour, and a value for each step."""


def write_plot(path: Path, title: str, steps: Sequence[Step], knee: int | None) -> None:
    """Writes `path`, by its ending `.html` or `.png`. Raises `UsageError` for another one, and for a PNG without
    matplotlib."""
    steps = [step for step in steps if step.requests]
    if path.suffix.lower() == ".png":
        _write_png(path, title, steps, knee)
    else:
        path.write_text(_page(title, steps, knee), encoding="utf-8")


def check_plot(path: Path | None) -> None:
    """Before anything is measured: raises as `write_plot` would."""
    if path is None:
        return
    if path.suffix.lower() not in (".html", ".png"):
        raise click.UsageError(f"--plot: expected a name that ends in .html or .png, got {str(path)!r}")
    if not path.absolute().parent.is_dir():
        raise click.UsageError(f"--plot: {str(path.absolute().parent)!r} is no folder")
    if path.suffix.lower() == ".png":
        try:
            import matplotlib  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: F401
        except ImportError as error:
            raise click.UsageError(
                "--plot: a PNG needs matplotlib: pip install 'onegate[bench]', or name a .html, which needs nothing"
            ) from error


def _lines(steps: Sequence[Step]) -> tuple[tuple[str, list[Line]], tuple[str, list[Line]]]:
    return (
        ("requests/s", [("requests/s", "#1f5fbf", [step.requests_per_s for step in steps])]),
        (
            "latency, ms",
            [
                ("p50", "#2e8b57", [step.p50_ms or 0 for step in steps]),
                ("p90", "#c47f17", [step.p90_ms or 0 for step in steps]),
                ("p99", "#b8342b", [step.p99_ms or 0 for step in steps]),
            ],
        ),
    )


def _page(title: str, steps: Sequence[Step], knee: int | None) -> str:
    charts = "\n".join(_chart(name, lines, steps, knee) for name, lines in _lines(steps))
    rows = "\n".join(
        f"<tr><td>{s.connections}</td><td>{s.requests_per_s:.0f}</td><td>{s.p50_ms:.3g}</td><td>{s.p90_ms:.3g}</td>"
        f"<td>{s.p99_ms:.3g}</td><td>{'' if s.batch_rows is None else f'{s.batch_rows:.3g}'}</td>"
        f"<td>{sum(s.errors.values())}</td></tr>"
        for s in steps
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>body{{font:14px sans-serif;margin:2em;color:#222}}td,th{{padding:2px 12px;text-align:right}}svg{{display:block}}
text{{font:12px sans-serif;fill:#444}}</style></head><body>
<h1>{html.escape(title)}</h1>
{charts}
<table><tr><th>connections</th><th>requests/s</th><th>p50 ms</th><th>p90 ms</th><th>p99 ms</th><th>batch rows</th>
<th>errors</th></tr>
{rows}</table></body></html>
"""


def _chart(name: str, lines: list[Line], steps: Sequence[Step], knee: int | None) -> str:
    most = max((value for _, _, values in lines for value in values), default=0.0) or 1.0
    top = _round_up(most)
    places = [_x(step.connections, steps) for step in steps]
    parts = [f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{html.escape(name)}">']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share * top, top)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share * top:g}</text>')
    for step, x in zip(steps, places, strict=True):
        label = f"{step.connections} (knee)" if step.connections == knee else str(step.connections)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{label}</text>')
        if step.connections == knee:
            parts.append(
                f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#999" '
                'stroke-dasharray="4 3"/>'
            )
    parts.append(f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">connections; {html.escape(name)}')
    parts[-1] += f": {html.escape(', '.join(line for line, _, _ in lines))}</text>"
    for line, colour, values in lines:
        points = " ".join(f"{x:.1f},{_y(value, top):.1f}" for x, value in zip(places, values, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if places:
            parts.append(
                f'<text x="{places[-1] - 4:.1f}" y="{_y(values[-1], top) - 6:.1f}" text-anchor="end" '
                f'style="fill:{colour}">{html.escape(line)}</text>'
            )
    return "\n".join([*parts, "</svg>"])


def _x(connections: int, steps: Sequence[Step]) -> float:
    """By the logarithm: steps double."""
    last = math.log2(max(step.connections for step in steps)) or 1.0
    return LEFT + 20 + math.log2(connections) / last * (WIDTH - LEFT - RIGHT - 60)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)


def _round_up(value: float) -> float:
    """To 1, 2, 4, 5 or 8 times a power of ten."""
    power: float = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)


def _write_png(path: Path, title: str, steps: Sequence[Step], knee: int | None) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1, figsize=(8, 8), sharex=True)
    counts = [step.connections for step in steps]
    for axis, (name, lines) in zip(axes, _lines(steps), strict=True):
        for line, colour, values in lines:
            axis.plot(counts, values, color=colour, marker="o", label=line)
        axis.set_xscale("log", base=2)
        axis.set_xticks(counts, list(map(str, counts)))
        axis.set_ylim(bottom=0)
        axis.set_ylabel(name)
        axis.legend()
        if knee is not None:
            axis.axvline(knee, color="#999", linestyle="--")
    axes[0].set_title(title)
    axes[1].set_xlabel("connections")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
