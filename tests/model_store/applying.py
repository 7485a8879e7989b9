"""An applier process: appends generations, each after the newest, until it has won as often as asked. Or a signer."""

from __future__ import annotations

import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from model_store import generations
from model_store.errors import Conflict
from model_store.signing import sign
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


def sign_version(url: str, number: str, die_at: str) -> None:
    store, key = Store(url), Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    die_at_call(int(die_at))
    sign(store, "digits", int(number), key)


if __name__ == "__main__":
    if sys.argv[2] == "--sign":
        sign_version(sys.argv[1], *sys.argv[3:])
    else:
        main(*sys.argv[1:])
