"""Tokens of an identity provider, signed for real: what counts, and what only looks like it."""

from __future__ import annotations

import base64
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from model_store.errors import ConfigError, Unauthenticated
from serve.access import tokens
from serve.access.tokens import TokenVerifier, read_keys
from serve.config_sections.access import JwtConfig

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
STRANGER = rsa.generate_private_key(65537, 2048)

PUBLIC: dict[str, dict[str, Any]] = {
    "r": {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "r", "use": "sig"},
    "e": {**ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": "e"},
    "o": {**OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True), "kid": "o", "alg": "EdDSA"},
}


class Clock:
    def __init__(self) -> None:
        self.tick_s = 0.0

    def tick(self) -> float:
        return self.tick_s


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "jwks.json", *PUBLIC.values())


def write(file: Path, *keys: dict[str, Any]) -> Path:
    """Puts a whole file in the place of the one before."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"keys": keys}))
    os.replace(new, file)
    return file


def verifier(
    file: Path, clock: Callable[[], float] = time.time, tick: Clock | None = None, **keys: Any
) -> TokenVerifier:
    config = JwtConfig(jwks_file=str(file), issuer="https://id.example", audience="onegate", **keys)
    return TokenVerifier(config, (tick or Clock()).tick, clock)


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "r", **claims: Any) -> str:
    payload = {
        "iss": "https://id.example",
        "aud": ["onegate", "other"],
        "sub": "ann",
        "exp": time.time() + 60,
        "scope": "openid infer:digits view",
    } | claims
    payload = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(payload, key, algorithm, headers={"kid": kid} if kid else None)


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "r"), (EC, "ES256", "e"), (ED, "EdDSA", "o")])
def test_a_signed_token_is_its_subject_with_the_scopes_of_its_claim(
    file: Path, key: Any, algorithm: str, kid: str
) -> None:
    caller = verifier(file).caller(token(key, algorithm, kid))

    assert caller.name == "jwt:ann"
    assert caller.grants.scopes == ("openid", "infer:digits", "view")


def test_the_claim_is_configured_and_may_be_a_list(file: Path) -> None:
    found = verifier(file, scope_claim="roles").caller(token(roles=["manage", 7, None]))

    assert found.grants.scopes == ("manage",)


@pytest.mark.parametrize("claim", [None, 7, {"infer": True}])
def test_a_claim_of_another_kind_grants_nothing(file: Path, claim: Any) -> None:
    assert verifier(file).caller(token(scope=claim)).grants.scopes == ()


def test_without_a_kid_the_only_key_is_meant(tmp_path: Path) -> None:
    only = write(tmp_path / "one.json", PUBLIC["r"])

    assert verifier(only).caller(token(kid=None)).name == "jwt:ann"


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"exp": 1_000_000}, "Signature has expired"),
        ({"exp": None}, 'Token is missing the "exp" claim'),
        ({"exp": "soon"}, "Expiration Time claim"),
        ({"iss": "https://evil.example"}, "Invalid issuer"),
        ({"iss": None}, 'Token is missing the "iss" claim'),
        ({"aud": "other"}, "Audience doesn't match"),
        ({"aud": None}, 'Token is missing the "aud" claim'),
        ({"nbf": 9_999_999_999}, "not yet valid"),
    ],
)
def test_a_token_that_is_not_for_here_or_not_for_now_is_refused(file: Path, claims: dict[str, Any], text: str) -> None:
    with pytest.raises(Unauthenticated, match="the token is not valid here: ") as refused:
        verifier(file).caller(token(**claims))
    assert text in refused.value.message


def _confused() -> str:
    """Signed with the public key's text as a shared secret, the oldest trick."""
    from hashlib import sha256
    from hmac import new

    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (
            {"alg": "HS256", "kid": "r"},
            {"iss": "https://id.example", "aud": "onegate", "exp": 9_999_999_999},
        )
    )
    secret = json.dumps(PUBLIC["r"]).encode()
    return b".".join((head, body, base64.urlsafe_b64encode(new(secret, head + b"." + body, sha256).digest()))).decode()


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda: token(STRANGER), id="another key under a known kid"),
        pytest.param(lambda: token(kid="x"), id="unknown kid"),
        pytest.param(lambda: token(kid=None), id="no kid with several keys"),
        pytest.param(lambda: token(algorithm="RS512"), id="an algorithm that is not listed"),
        pytest.param(lambda: token(EC, "ES256", "r"), id="an algorithm of another key"),
        pytest.param(lambda: token(None, "none"), id="no signature"),
        pytest.param(_confused, id="a public key as a secret"),
        pytest.param(lambda: token()[:-8] + "AAAAAAAA", id="a changed signature"),
        pytest.param(lambda: "a.b.c", id="no base64"),
        pytest.param(lambda: "..", id="empty parts"),
        pytest.param(lambda: "W10.W10.W10", id="lists"),
        pytest.param(lambda: f"{base64.urlsafe_b64encode(b'[' * 9000).decode()}.e30.AA", id="deep"),
    ],
)
def test_what_only_looks_like_a_token_is_refused(file: Path, made: Callable[[], str]) -> None:
    with pytest.raises(Unauthenticated, match="the token is not valid here"):
        verifier(file).caller(made())


def test_a_damaged_token_is_refused_or_says_the_same(file: Path) -> None:
    """Of the last character of a part, base64 reads some bits only."""
    rng, verifying = random.Random(11), verifier(file)
    for text in (token(), token(EC, "ES256", "e"), token(ED, "EdDSA", "o")):
        for _ in range(300):
            parts = list(text)
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(parts))
                parts[at : at + rng.randrange(0, 3)] = rng.choices(".-_=AZaz09 {", k=rng.randrange(0, 3))
            try:
                caller = verifying.caller("".join(parts))
            except Unauthenticated:
                continue
            assert caller.grants.scopes == ("openid", "infer:digits", "view")


def test_a_verified_token_counts_until_it_expires(file: Path) -> None:
    now = time.time()
    clock = [now]
    verifying = verifier(file, lambda: clock[0])
    text = token(exp=now + 60)
    caller = verifying.caller(text)

    clock[0] = now + 69
    assert verifying.caller(text) is caller
    clock[0] = now + 71
    with pytest.raises(Unauthenticated, match="has expired"):
        verifying.caller(text)


def test_a_changed_file_counts_within_a_second_for_verified_tokens_too(file: Path) -> None:
    tick = Clock()
    verifying = verifier(file, tick=tick)
    text = token()
    verifying.caller(text)
    write(file, PUBLIC["e"])
    tick.tick_s = 1.0

    with pytest.raises(Unauthenticated):
        verifying.caller(text)
    assert verifying.caller(token(EC, "ES256", "e")).name == "jwt:ann"


@pytest.mark.parametrize("content", ["", "{", '{"keys": []}', "[]"])
def test_a_file_that_is_damaged_later_changes_nothing(file: Path, content: str) -> None:
    tick = Clock()
    verifying = verifier(file, tick=tick)
    file.write_text(content)
    tick.tick_s = 1.0

    assert verifying.caller(token()).name == "jwt:ann"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "can't be read: No such file or directory"),
        ("{", "can't be read: JSONDecodeError"),
        ("[]", "can't be read: ValueError"),
        ('{"keys": [{"kty": "oct", "k": "AAAA", "kid": "s"}]}', "holds no public key for RS256, ES256, EdDSA"),
    ],
)
def test_a_file_without_a_key_is_told_at_the_start(tmp_path: Path, content: str | None, text: str) -> None:
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_text(content)

    config = JwtConfig(jwks_file=str(file), issuer="i", audience="a")
    with pytest.raises(ConfigError, match=r"access\.jwt\.jwks_file: ") as refused:
        read_keys(config)
    assert text in refused.value.message


@pytest.mark.parametrize("content", [None, "{"])
def test_a_process_that_starts_again_without_the_file_refuses_tokens_until_it_is_there(
    tmp_path: Path, content: str | None
) -> None:
    file, tick = tmp_path / "keys.json", Clock()
    if content is not None:
        file.write_text(content)
    verifying = verifier(file, tick=tick)
    with pytest.raises(Unauthenticated):
        verifying.caller(token())
    write(file, PUBLIC["r"])
    tick.tick_s = 1.0

    assert verifying.caller(token()).name == "jwt:ann"


def test_as_many_tokens_are_kept_as_may_be(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_KEPT", 2)
    verifying = verifier(file)
    texts = [token(sub=str(number)) for number in range(4)]
    callers = [verifying.caller(text) for text in texts]

    assert verifying.caller(texts[3]) is callers[3]
    assert verifying.caller(texts[2]) is callers[2]
    assert verifying.caller(texts[0]) is not callers[0]
