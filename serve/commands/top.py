"""`onegate top`."""

from __future__ import annotations

import json
import sys
import time

import click

from serve.commands.options import json_option, management_option
from serve.commands.tables import console
from serve.management_client import ManagementClient

ONCE_S = 3.0
"""Between the two looks of a single frame: gateways report once a second."""

KEY_S = 0.1
"""How often the screen looks for something new while no key is pressed."""


@click.command()
@click.option("--once", is_flag=True, help="Print a single frame, which takes three seconds; needs no terminal.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.2, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between looks.",
)
@management_option
@json_option
def command(once: bool, interval_s: float, client: ManagementClient, as_json: bool) -> None:
    """Watch the models of the running gateway: state, traffic, requests and errors a second, latencies, batches, queue.

    Figures are those of the last five seconds, over all gateways. Keys: q ends, s changes the order, r reverses it,
    / filters by name, j and k move. While the gateway is away it tries on. --json prints a single frame.

    \b
    Example:
      onegate top
      onegate top --once
    """
    if once or as_json:
        _print_frame(client, as_json)
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("top needs a terminal; --once prints a single frame, --json one for programs")
    _watch(client, interval_s)


def _print_frame(client: ManagementClient, as_json: bool) -> None:
    from serve.live.looks import look, make_frame
    from serve.live.view import View, draw

    first = look(client)
    time.sleep(ONCE_S)
    frame = make_frame([first, look(client)])
    if as_json:
        click.echo(json.dumps(frame.told()))
    else:
        console().print(draw(frame, View()))


def _watch(client: ManagementClient, interval_s: float) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from serve.live.keyboard import keyboard
    from serve.live.looks import Looking, make_frame
    from serve.live.view import KEYS, View, draw

    looking, view, screen = Looking(client, interval_s), View(), Console(highlight=False)

    def content() -> object:
        looks = looking.looks
        if looks:
            return draw(make_frame(looks), view, screen.height, screen.width)
        return Text(
            f"{looking.failure or f'asking {client.url}'}\n\n{KEYS if looking.failure is None else 'trying on'}"
        )

    try:
        with keyboard() as keys, Live(screen=True, console=screen, auto_refresh=False) as live:
            shown = None
            while not view.ended:
                pressed = keys.pressed(KEY_S)
                for key in pressed:
                    view.press(key)
                now = (looking.number, screen.size)
                if pressed or now != shown:
                    live.update(content(), refresh=True)  # type: ignore[arg-type]
                    shown = now
    except KeyboardInterrupt:
        pass
    finally:
        looking.end()
