"""The plain call, for people with only `curl`: `POST /predict/{model}`, a body of any usual kind in, JSON out.

This project's own protocol. The body is JSON, CSV, `.npy`, `.npz`, a picture or a form with one of these; the content
type says which, and where it does not, as with curl's own default, the first bytes do. Tensors are answered by
`{"model", "version", "outputs": {name: values}}`, or by CSV for `Accept: text/csv`. A picture goes to the version's
processor and anything at all to a handler; what those answer goes back as it is, without headers of its own.
"""

from __future__ import annotations

from model_store.errors import OnegateError
from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, Signature
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute, own_error
from serve.dialects.raw_bodies import HEADER_VALUE, payload_of
from serve.inference import Answer, InferenceRequest, InferenceResponse, Payload, Query, Tensors, output_tensors
from serve.payloads import from_tensors, to_tensors
from serve.processors.body_kinds import BodyKind, kind_of
from serve.processors.csv_answers import CSV, wants_csv, write_csv
from serve.processors.json_tensors import write_json, write_values
from serve.processors.tensor_bodies import reader_of
from serve.routing import version_or_label

_METHODS = ("POST", "PUT")
"""`curl -T x.csv` sends a PUT."""
_JSON = ("content-type", "application/json")


class _Body:
    """A body that becomes the inputs of a signature; `raw` and `row` say afterwards how it did."""

    __slots__ = ("_payload", "raw", "row")

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self.raw = False
        """Whether the model is a handler and has got the body as it came."""
        self.row = False
        """Whether the body was one row without its batch dimension."""

    def __call__(self, signature: Signature) -> Tensors:
        """The inputs; raises `InvalidInput` for a body that holds none of that signature."""
        if signature == PAYLOAD_SIGNATURE:
            self.raw = True
            return to_tensors(self._payload)
        inputs, self.row = reader_of(signature).read(self._payload)
        return inputs


class Plain:
    """`/predict/{model}` and `/predict/{model}/{version or label}`; it has no state."""

    name = "plain"
    segments: tuple[str, ...] = ("predict",)

    def decode(self, request: HttpRequest) -> Query:
        """The request; raises `NoSuchRoute` for other paths and methods and `InvalidInput` for a malformed form."""
        model, version, label = _target(request.path)
        if request.method not in _METHODS:
            raise NoSuchRoute("Method Not Allowed", status=405)
        payload = payload_of(request, {})
        if _has_picture(payload):
            return InferenceRequest(model, version, label, PAYLOAD, payload=payload)
        body = _Body(payload)
        return InferenceRequest(model, version, label, read_inputs=body, reply_form=body)

    def encode(self, request: HttpRequest, query: Query, answer: Answer) -> HttpReply:
        """The outputs as JSON, nested as the inputs came, or as CSV; or what a processor or handler answered."""
        assert isinstance(query, InferenceRequest)
        assert isinstance(answer, InferenceResponse)
        body = query.reply_form
        if answer.payload is not None:
            return _own_answer(answer.payload)
        assert isinstance(body, _Body)
        outputs = output_tensors(answer)
        if body.raw:
            return _own_answer(from_tensors(outputs))
        if wants_csv(request.header("accept")):
            return HttpReply(200, write_csv(outputs, answer.batched), [("content-type", CSV)])
        document = {"model": answer.model, "version": answer.version, "outputs": write_values(outputs, body.row)}
        return HttpReply(200, write_json(document), [_JSON])

    def encode_error(self, request: HttpRequest, error: OnegateError) -> HttpReply:
        """`{"error": text, "kind": name}` under the kind's status; `Overloaded` with Retry-After."""
        reply = own_error(error)
        if reply.status == 405:
            reply.headers.append(("allow", ", ".join(_METHODS)))
        return reply


def _target(path: str) -> tuple[str, str | None, str | None]:
    """Model, version and label; versions begin with a digit, labels with a letter."""
    parts = path.strip("/").split("/")[1:]
    if not parts or not all(parts) or len(parts) > 2:
        raise NoSuchRoute("Not Found")
    return parts[0], *version_or_label(parts[1] if len(parts) == 2 else None)


def _has_picture(payload: Payload) -> bool:
    if not payload.fields:
        return kind_of(payload.content_type, payload.body) is BodyKind.PICTURE
    types = payload.field_types
    return any(kind_of(types.get(name, ""), part) is BodyKind.PICTURE for name, part in payload.fields.items())


def _own_answer(payload: Payload) -> HttpReply:
    told = payload.content_type if HEADER_VALUE.fullmatch(payload.content_type) else ""
    return HttpReply(payload.status, payload.body, [("content-type", told or "application/octet-stream")])
