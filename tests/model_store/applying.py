"""An applier process: appends generations, each after the newest, until it has won as often as asked."""

from __future__ import annotations

import sys

from model_store import generations
from model_store.errors import Conflict
from model_store.store import Store
from tests.model_store.publishing import die_at_call


def main(url: str, name: str, wins: str, die_at: str = "0") -> None:
    store = Store(url)
    if int(die_at):
        die_at_call(int(die_at))
    left = int(wins)
    while left:
        number = max(generations.numbers(store), default=0) + 1
        try:
            generations.append(store, number, {"applier": name, "models": []})
        except Conflict:
            continue
        print(number, flush=True)
        left -= 1


if __name__ == "__main__":
    main(*sys.argv[1:])
