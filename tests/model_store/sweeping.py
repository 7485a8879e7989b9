"""A pruner process, which can be made to die."""

from __future__ import annotations

import sys

from model_store.pruning import prune
from model_store.store import Store
from tests.model_store.publishing import die_at_call


def main(url: str, keep: str, die_at: str) -> None:
    store = Store(url)
    die_at_call(int(die_at))
    prune(store, keep=int(keep))


if __name__ == "__main__":
    main(*sys.argv[1:])
