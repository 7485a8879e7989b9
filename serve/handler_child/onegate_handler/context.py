"""`context`, the second argument of every handler: all that MMS 1.x and TorchServe offer, by their names."""

from __future__ import annotations

from typing import Any, List

CONTENT_TYPE = "content-type"


class RequestProcessor:
    """Headers of one request of the batch, and what the handler says of its answer."""

    def __init__(self, request_header: dict[str, Any]) -> None:
        self._request_header = request_header
        self._status_code = 200
        self._reason_phrase: str | None = None
        self._response_header: dict[str, str] = {}

    def get_request_property(self, key: str) -> Any:
        """A header of the request, whatever the case of its letters: HTTP does not tell them apart."""
        if key in self._request_header:
            return self._request_header[key]
        matches = (value for name, value in self._request_header.items() if name.lower() == key.lower())
        return next(matches, None)

    def get_request_properties(self) -> dict[str, Any]:
        """All headers of the request."""
        return self._request_header

    def report_status(self, code: int, reason_phrase: str | None = None) -> None:
        """Sets the HTTP status of the answer."""
        self._status_code = code
        self._reason_phrase = reason_phrase

    def get_response_status_code(self) -> int:
        """The HTTP status of the answer; 200 unless it was set."""
        return self._status_code

    def get_response_status_phrase(self) -> str | None:
        """The phrase that was set beside the status; HTTP/2 and gRPC don't carry one."""
        return self._reason_phrase

    def add_response_property(self, key: str, value: str) -> None:
        """Sets a header of the answer."""
        self._response_header[key] = value

    def get_response_headers(self) -> dict[str, str]:
        """All headers of the answer."""
        return self._response_header

    def get_response_header(self, key: str | None = None) -> Any:
        """One header of the answer (TorchServe), or without a key all of them (MMS)."""
        return self._response_header if key is None else self._response_header.get(key)


class RequestProcessors(List[RequestProcessor]):
    """One a request of the batch. Handlers written before MMS had batches take it for the processor itself, so that it
    is one too: what they report goes to every request, what they ask is the first one's."""

    def report_status(self, code: int, reason_phrase: str | None = None) -> None:
        """Sets the HTTP status of every answer."""
        for processor in self:
            processor.report_status(code, reason_phrase)

    def add_response_property(self, key: str, value: str) -> None:
        """Sets a header of every answer."""
        for processor in self:
            processor.add_response_property(key, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self[0], name)


class Context:
    """What a handler knows of its model and of the batch at hand."""

    def __init__(
        self,
        model_name: str,
        model_dir: str,
        manifest: dict[str, Any] | None,
        batch_size: int,
        gpu: int | None,
        mms_version: str,
        limit_max_image_pixels: bool = True,
        metrics: Any = None,
        model_yaml_config: dict[str, Any] | None = None,
    ) -> None:
        self.model_name = model_name
        self.manifest = manifest
        self.model_yaml_config = model_yaml_config or {}
        self.metrics = metrics
        self.request_ids: dict[int, str] | None = None
        self.request_processor: RequestProcessors | None = None
        self.early_results: list[list[Any]] = []
        """Parts of the answers that the handler handed over before it returned; each has one element a request."""
        self.system_properties: dict[str, Any] = {
            "model_dir": model_dir,
            "gpu_id": gpu,
            "batch_size": batch_size,
            "server_name": "MMS",  # TorchServe says so too
            "server_version": mms_version,
            "limit_max_image_pixels": limit_max_image_pixels,
        }

    def _processor(self, idx: int) -> RequestProcessor:
        if self.request_processor is None:
            raise RuntimeError("there is no request while the model is loaded")
        return self.request_processor[idx]

    def get_request_id(self, idx: int = 0) -> str | None:
        """The id of a request of the batch; None while the model is loaded."""
        return None if self.request_ids is None else self.request_ids.get(idx)

    def get_request_header(self, idx: int, key: str) -> Any:
        """One header of a request."""
        return self._processor(idx).get_request_property(key)

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        """All headers of a request."""
        return self._processor(idx).get_request_properties()

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Sets the content type of an answer."""
        self.set_response_header(idx, CONTENT_TYPE, value)

    def get_response_content_type(self, idx: int) -> str | None:
        """The content type that was set; None where the result's type decides."""
        headers = {} if self.request_processor is None else self.get_response_headers(idx)
        return next((value for name, value in headers.items() if name.lower() == CONTENT_TYPE), None)

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Sets a header of an answer."""
        self._processor(idx).add_response_property(key, value)

    def get_response_headers(self, idx: int) -> dict[str, str]:
        """The headers that were set for an answer."""
        return self._processor(idx).get_response_headers()

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """Sets the HTTP status of one answer (TorchServe's name)."""
        self._processor(idx).report_status(code, reason_phrase=phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        """Sets the HTTP status of every answer of the batch."""
        if self.request_processor is not None:
            self.request_processor.report_status(code, phrase)

    def get_response_status(self, idx: int) -> tuple[int, str | None]:
        """Status and phrase of one answer (TorchServe's name)."""
        processor = self._processor(idx)
        return processor.get_response_status_code(), processor.get_response_status_phrase()

    set_http_response_status = set_response_status
    """MMS's name."""
    get_http_response_status = get_response_status
    """MMS's name."""
