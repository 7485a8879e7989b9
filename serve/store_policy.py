"""What the config says of the store's use, as it travels to controller, gateways and replicas when they are started.

It stays until the next start: a call over the wire that could turn it off would make it worthless.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from model_store.manifest import Manifest
from model_store.node_cache import NodeCache, default_folder
from model_store.signing import verify
from model_store.signing_keys import public_key_of, read_key_file
from model_store.store import Store

if TYPE_CHECKING:
    from serve.config import Config


class StorePolicy(msgspec.Struct, frozen=True):
    """`cache_folder` None is the node's default. `public_keys` are PEM texts; None serves unsigned versions too."""

    cache_folder: str | None = None
    cache_bytes: int = 0
    public_keys: tuple[str, ...] | None = None

    def open(self, url: str) -> Store:
        """The store at `url`, with the node's cache where it is remote."""
        if not self.cache_bytes:
            return Store(url)
        return Store(
            url, NodeCache(Path(self.cache_folder) if self.cache_folder else default_folder(), self.cache_bytes)
        )

    def check(self, store: Store, manifest: Manifest) -> None:
        """Raises `NotSigned` for a version that no trusted key signed, where that is asked for; `StoreError`."""
        if self.public_keys is not None:
            verify(store, manifest, [public_key_of(pem.encode(), "signing.public_keys") for pem in self.public_keys])


NO_POLICY = StorePolicy()
"""Without a cache, for versions of everybody."""


def store_policy(config: Config) -> StorePolicy:
    """The policy of a config. Reads the key files; raises `ConfigError` for one that is none."""
    cache, signing = config.store_cache, config.signing
    texts = []
    for path in signing.public_keys:
        data = read_key_file(Path(path))
        public_key_of(data, path)
        texts.append(data.decode("ascii", "replace"))
    return StorePolicy(cache.folder, int(cache.max_gib * 2**30), tuple(texts) if signing.required else None)
