"""The console's files: what is sent of them, to whom, and for how long it is kept."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from serve.console.files import POLICY, ConsoleFiles
from serve.dialects.base import HttpReply, HttpRequest
from tests.serve.access.guarded import ask, bearer, guarded

SCRIPT = "let a = 1;\n" * 200


@pytest.fixture
def console(tmp_path: Path) -> ConsoleFiles:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "assets" / "index-abc.js").write_text(SCRIPT)
    (tmp_path / "sources.sha256").write_text("0" * 64)
    return ConsoleFiles(tmp_path)


def get(console: ConsoleFiles, path: str, method: str = "GET", **headers: str) -> HttpReply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return console.answer(HttpRequest(method, path, b"", named.get))


def header(reply: HttpReply, name: str) -> str | None:
    return dict(reply.headers).get(name)


def test_the_page_is_asked_for_anew_each_time_and_its_parts_are_kept_for_ever(console: ConsoleFiles) -> None:
    page, script = get(console, "/"), get(console, "/console/assets/index-abc.js")

    assert (page.status, page.body, header(page, "content-type")) == (
        200,
        b"<!doctype html>",
        "text/html; charset=utf-8",
    )
    assert header(page, "cache-control") == "no-cache"
    assert (script.status, script.body.decode()) == (200, SCRIPT)
    assert header(script, "content-type") == "text/javascript; charset=utf-8"
    assert header(script, "cache-control") == "public, max-age=31536000, immutable"


def test_a_page_that_the_browser_has_is_not_sent_again(console: ConsoleFiles) -> None:
    tag = header(get(console, "/"), "etag")
    assert tag is not None

    assert (get(console, "/", if_none_match=tag).status, get(console, "/", if_none_match=tag).body) == (304, b"")
    assert get(console, "/", if_none_match=f'"other", W/{tag}').status == 304
    assert get(console, "/", if_none_match='"other"').status == 200


def test_a_packed_file_has_a_tag_of_its_own(console: ConsoleFiles) -> None:
    plain, packed = (get(console, "/console/assets/index-abc.js", accept_encoding=each) for each in ("", "gzip, br"))

    assert (header(plain, "content-encoding"), header(packed, "content-encoding")) == (None, "gzip")
    assert gzip.decompress(packed.body).decode() == SCRIPT
    assert header(plain, "etag") != header(packed, "etag")
    assert header(packed, "vary") == "accept-encoding"


def test_every_reply_forbids_what_is_of_another_origin(console: ConsoleFiles) -> None:
    for reply in (get(console, "/"), get(console, "/console/absent.js"), get(console, "/console/index.html", "POST")):
        assert header(reply, "content-security-policy") == POLICY
        assert header(reply, "x-content-type-options") == "nosniff"
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'self'; ")


@pytest.mark.parametrize(
    "path", ["/console/", "/console/absent.js", "/console/../files.py", "/console/sources.sha256", "/console/assets"]
)
def test_what_is_no_file_of_the_page_is_not_found(console: ConsoleFiles, path: str) -> None:
    assert get(console, path).status == 404


def test_without_files_there_is_no_page_and_no_harm(tmp_path: Path) -> None:
    assert get(ConsoleFiles(tmp_path / "absent"), "/").status == 404


def test_files_are_only_read(console: ConsoleFiles) -> None:
    reply = get(console, "/console/index.html", "PUT")
    assert (reply.status, header(reply, "allow")) == (405, "GET, HEAD")


def test_other_methods_on_the_root_are_for_others(console: ConsoleFiles) -> None:
    claimed = [method for method in ("GET", "HEAD", "POST", "OPTIONS") if console.claims(request(method, "/"))]
    assert claimed == ["GET", "HEAD"]
    assert not console.claims(request("GET", "/consoles"))


def request(method: str, path: str) -> HttpRequest:
    return HttpRequest(method, path, b"", {}.get)


async def test_the_page_needs_no_key_and_takes_no_wrong_one() -> None:
    async with guarded() as ports:
        page = await ask(ports.management, "GET", "/")
        expired = await ask(ports.management, "GET", "/", headers=bearer(ports.keys.key("view", expired=True)))
        body = await ask(ports.management, "GET", "/", b"more than nothing")

        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert (expired.status, body.status) == (401, 413)


async def test_behind_keys_the_page_may_have_any_host() -> None:
    async with guarded() as ports:
        reply = await ask(ports.management, "GET", "/", headers=[("host", "onegate.example")])
        assert reply.status == 200
