"""The parity report as people read it: what was compared, how far each output is off, what unusual inputs showed."""

from __future__ import annotations

import click

from model_store.manifest import Manifest, OutputParity, ParityReport
from serve.commands.tables import console, headed


def print_report(manifest: Manifest) -> None:
    """Prints what the conversion proved; says so where the version is served in its own framework."""
    if manifest.reason is not None:
        click.echo(f"served by the runtime {manifest.runtime!r}, not as ONNX: {manifest.reason}")
    parity = manifest.parity
    if parity is None:
        return
    _print_outputs(parity, several=len({output.signature for output in parity.outputs}) > 1)
    batches = ", ".join(map(str, parity.batches))
    rows = "independent" if parity.row_independent else "not independent: requests are not merged"
    click.echo(f"compared with {parity.reference} at batches {batches}, bound {_bound(parity)}; rows are {rows}")
    for edge in parity.edges:
        if edge.outcome != "equal":
            click.echo(f"inputs of kind {edge.kind!r}: {edge.outcome}")
    if not parity.deterministic:
        click.echo("the model answers the same inputs differently each time, so nothing could be compared")
    for signature, batch in manifest.fixed_batch.items():
        click.echo(f"{signature} computes {batch} rows at a time: requests are padded to it and split around it")
    _print_profile(manifest)


def _bound(parity: ParityReport) -> str:
    classes = "" if parity.class_agreement is None else f" and {parity.class_agreement:.0%} of classes"
    return f"{parity.rtol:g}{classes}"


def _print_outputs(parity: ParityReport, *, several: bool) -> None:
    table = headed("OUTPUT", "MAX ABS ERROR", "MAX REL ERROR", "SCALE", "CLASSES AGREE", folded=("OUTPUT",))
    for output in parity.outputs:
        table.add_row(f"{output.signature}.{output.name}" if several else output.name, *_figures(output))
    console().print(table)


def _figures(output: OutputParity) -> tuple[str, str, str, str]:
    agreement = "" if output.class_agreement is None else f"{output.class_agreement:.2%}"
    return f"{output.max_abs_error:.2e}", f"{output.max_rel_error:.2e}", f"{output.scale:.3g}", agreement


def _print_profile(manifest: Manifest) -> None:
    profile = manifest.profile
    if profile is None:
        return
    text = f"one CPU thread: {profile.batch_one_ms:.3g} ms at batch 1"
    if profile.largest_batch != 1:
        text += f", {profile.largest_batch_ms:.3g} ms at batch {profile.largest_batch}"
    if profile.load_ms is not None:
        text += f", loads in {profile.load_ms:.3g} ms"
    if profile.plain_load_ms is not None and profile.plain_batch_one_ms is not None:
        text += (
            f" (not optimised beforehand: {profile.plain_batch_one_ms:.3g} ms, loads in {profile.plain_load_ms:.3g})"
        )
    click.echo(text)
