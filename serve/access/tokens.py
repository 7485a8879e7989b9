"""JSON Web Tokens (RFC 7519) of an identity provider, verified against the keys in a local file (JWKS, RFC 7517).

Nothing is asked of the network: whoever runs the provider, or a job, keeps the file fresh.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jwt

from model_store.errors import ConfigError, Unauthenticated
from model_store.filesystems import reason
from serve.access.callers import Caller
from serve.access.keys import require_present
from serve.access.scopes import Grants
from serve.config_sections.access import JwtConfig

log = logging.getLogger("onegate")

LOOK_S = 1.0
"""How often the file is looked at, at most, while tokens come."""

LEEWAY_S = 10
"""How far the provider's clock may be off."""

MAX_KEPT = 4096
"""Verified tokens; the oldest goes first."""

MAX_SUBJECT = 200

Keys = Mapping[tuple[str | None, str], jwt.PyJWK]
"""Public keys by `kid` and algorithm."""


class TokenVerifier:
    """The callers of tokens. A token that was verified is kept until it expires, or the file changes. `tick` is a
    monotonic clock, `clock` Unix time."""

    def __init__(
        self,
        config: JwtConfig,
        tick: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A file that can't be read now may be there later: until then no token counts."""
        self._config = config
        self._tick = tick
        self._clock = clock
        self._decoder = jwt.PyJWT({"require": ["exp"], "enforce_minimum_key_length": True})
        self._kept: dict[bytes, Caller] = {}
        self._looked = tick()
        self._seen: object = None
        self._keys: Keys = {}
        self._read()

    def caller(self, token: str) -> Caller:
        """The token's subject; raises `Unauthenticated` for one that is not valid."""
        self._look()
        digest = hashlib.sha256(token.encode()).digest()
        caller = self._kept.get(digest)
        if caller is not None:
            require_present(caller, self._clock())
            return caller
        caller = self._verified(token)
        if len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[digest] = caller
        return caller

    def _verified(self, token: str) -> Caller:
        config = self._config
        try:
            claims = self._decoder.decode(
                token,
                self._key_of(jwt.get_unverified_header(token)),
                algorithms=list(config.algorithms),
                issuer=config.issuer,
                audience=config.audience,
                leeway=LEEWAY_S,
            )
            until_s = float(claims["exp"]) + LEEWAY_S
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not valid here: {str(error) or type(error).__name__:.200}") from None
        except Exception:
            # Whatever else a library stumbles over in a stranger's text, it is no token.
            raise Unauthenticated("the token is not valid here: it can't be read") from None
        name = str(claims.get("sub", ""))[:MAX_SUBJECT]
        return Caller(f"jwt:{name}", Grants(_scopes(claims.get(config.scope_claim))), until_s=until_s)

    def _key_of(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        kid, algorithm = header.get("kid"), header.get("alg")
        kids = {kid for kid, _ in self._keys}
        if kid is None and len(kids) == 1:
            kid = next(iter(kids))
        key = self._keys.get((kid, str(algorithm)))
        if key is None:
            raise jwt.InvalidKeyError("no key of the file has its `kid` and `alg`")
        return key

    def _look(self) -> None:
        now = self._tick()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        self._read()

    def _read(self) -> None:
        """Reads a file that is another than the one before; one that is damaged changes nothing."""
        seen = _stamp(self._config.jwks_file)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys = read_keys(self._config)
        except ConfigError as error:
            log.warning("the keys of tokens stay what they were: %s", error.message)
        else:
            self._kept.clear()


def read_keys(config: JwtConfig) -> Keys:
    """The keys in the file, by `kid` and algorithm. Raises `ConfigError` when there is none that the config admits."""
    file = config.jwks_file
    try:
        found = _keys(json.loads(Path(file).read_bytes()), config.algorithms)
    except OSError as error:
        raise ConfigError(f"access.jwt.jwks_file: {file!r} can't be read: {reason(error)}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"access.jwt.jwks_file: {file!r} can't be read: {type(error).__name__}") from error
    if not found:
        listed = ", ".join(config.algorithms)
        raise ConfigError(f"access.jwt.jwks_file: {file!r} holds no public key for {listed}")
    return found


def _stamp(file: str) -> object:
    """What differs when the file does; a text where there is none."""
    try:
        state = Path(file).stat()
    except OSError as error:
        return str(error)
    return state.st_mtime_ns, state.st_size, state.st_ino


def _keys(document: Any, algorithms: Sequence[str]) -> Keys:
    """The keys of a document; those that are for something else are passed over."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no list of keys")
    found = {}
    for each in listed:
        if not isinstance(each, dict) or each.get("use", "sig") != "sig":
            continue
        for algorithm in algorithms:
            if each.get("alg", algorithm) == algorithm:
                try:
                    found[each.get("kid"), algorithm] = jwt.PyJWK(each, algorithm)
                except jwt.PyJWTError:
                    # A key of another kind than the algorithm's.
                    continue
    return found


def _scopes(claim: object) -> tuple[str, ...]:
    """Words of a text, or of a list; those that are no scope grant nothing."""
    words = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return tuple(word for word in words if isinstance(word, str))
