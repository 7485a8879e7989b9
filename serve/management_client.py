"""Calls of a running gateway's management port, for the command line."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from datetime import datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from model_store.errors import ERROR_KINDS, InternalError, ModelNotReady, OnegateError
from serve.access.bearer import bearer
from serve.caller import USER_HEADER, os_user
from serve.https_calls import opened, unreachable
from serve.tls_files import NO_FILES, ClientFiles

TIMEOUT_S = 30.0
CHANGE_S = 600.0
"""For changes of models, which are answered when they have come about: a version may have to be loaded first."""


class ManagementClient:
    """The management port at `url`, as `http://127.0.0.1:8082`, asked with `key` where one is needed, and with the
    files of `tls` where it is `https`. Each call raises the error that the port answers, and `ModelNotReady` when
    nobody listens there."""

    def __init__(self, url: str, key: str | None = None, tls: ClientFiles = NO_FILES) -> None:
        self.url = url.rstrip("/")
        self.key = key
        self.tls = tls

    def state(self, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The whole state."""
        return self._call("GET", "/api/state", timeout_s=timeout_s)

    def put_config(
        self, document: dict[str, Any], *, only_plan: bool = False, generation: int | None = None
    ) -> dict[str, Any]:
        """Applies the whole desired state, or only plans it. With `generation`, from which `document` was made, raises
        `Conflict` where that is not the newest."""
        query = "?plan=true" if only_plan else "" if generation is None else f"?generation={generation}"
        return self._call("PUT", f"/api/config{query}", document, timeout_s=CHANGE_S)

    def history(self, model: str | None = None, limit: int | None = None) -> dict[str, Any]:
        """Who changed what, newest first; with `model` what was served of it too."""
        asked = {key: value for key, value in (("model", model), ("limit", limit)) if value is not None}
        return self._call("GET", f"/api/history?{urllib.parse.urlencode(asked)}")

    def set_traffic(self, model: str, traffic: Mapping[str, int]) -> dict[str, Any]:
        """Percent by version; returns when gateways route so."""
        return self._on_model("PUT", model, "traffic", traffic)

    def set_labels(self, model: str, labels: Mapping[str, str | None]) -> dict[str, Any]:
        """Versions by label, None for one that is to go; returns when gateways route so."""
        return self._on_model("PUT", model, "labels", labels)

    def roll_back(self, model: str, to: int | None = None) -> dict[str, Any]:
        """Back to what was served before, or to that record of it; returns when gateways route so."""
        return self._on_model("POST", model, "rollback", {} if to is None else {"to": to})

    def _on_model(self, method: str, model: str, call: str, document: Mapping[str, Any]) -> dict[str, Any]:
        path = f"/api/models/{urllib.parse.quote(model, safe='')}/{call}"
        return self._call(method, path, document, timeout_s=CHANGE_S)

    def comparison(self, model: str) -> dict[str, Any]:
        """How the versions of a model do beside each other."""
        return self._call("GET", f"/api/models/{quote(model, safe='')}/comparison")

    def logs(
        self,
        model: str | None = None,
        after: int | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """Log lines of all processes, oldest first; `since` has a time zone."""
        when = since and since.isoformat()
        wanted = (("model", model), ("after", after), ("since", when), ("limit", limit))
        asked = {key: value for key, value in wanted if value is not None}
        return self._call("GET", f"/api/logs?{urllib.parse.urlencode(asked)}")

    def metrics(self, timeout_s: float = TIMEOUT_S) -> str:
        """What `GET /metrics` answers, in Prometheus' text format."""
        return self._read("GET", "/metrics", timeout_s=timeout_s).decode()

    def shutdown(self) -> None:
        """Asks the gateway to end."""
        self._call("POST", "/api/shutdown")

    def _call(
        self, method: str, path: str, document: Mapping[str, Any] | None = None, timeout_s: float = TIMEOUT_S
    ) -> dict[str, Any]:
        content = self._read(method, path, document, timeout_s)
        try:
            answer: dict[str, Any] = json.loads(content)
        except ValueError as error:
            raise ModelNotReady(f"{self.url} is no gateway's management port: {error}") from error
        return answer

    def _read(
        self, method: str, path: str, document: Mapping[str, Any] | None = None, timeout_s: float = TIMEOUT_S
    ) -> bytes:
        body = None if document is None else json.dumps(document).encode()
        headers = {USER_HEADER: os_user()} | bearer(self.key)
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers)
        try:
            with opened(request, timeout_s, self.tls) as reply:
                return reply.read()
        except urllib.error.HTTPError as error:
            raise error_from(_decode(error)) from error
        except (OSError, HTTPException) as error:
            raise unreachable(
                "gateway", self.url, error, "--management URL or ONEGATE_MANAGEMENT names another"
            ) from error


def _decode(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        answer = json.load(error)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"error": f"HTTP status {error.code}"}


def error_from(answer: dict[str, Any]) -> OnegateError:
    """The error that an answer of the port tells."""
    return ERROR_KINDS.get(answer.get("kind", ""), InternalError)(answer.get("error", "unknown error"))
