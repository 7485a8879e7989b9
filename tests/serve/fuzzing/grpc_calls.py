"""Calls that hypothesis makes of right ones: fields of messages changed by what their descriptors say they are, and
bytes of the serialised messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.serve.fuzzing.grpc_seeds import Call
from tests.serve.fuzzing.hostile import NUMBERS, SIZES, damaged, words
from tests.serve.fuzzing.inputs import GrpcInput

_texts = (
    words
    | st.sampled_from(
        ("x", "age", "classification", "sequence_id", "shared_memory_region", "triton_own", "config", "file:1/a")
    )
).map(lambda text: text.encode(errors="ignore").decode())
_floats = st.floats(width=32) | st.sampled_from((0.0, 1.5, 3e38))
_bytes = st.sampled_from((b"", b"a", bytes(8), b"\xff\xff\xff\xff", b"\1\0\0\0a", b"[1, 2]", bytes(5000), *NUMBERS[:4]))


def _whole(bits: int, signed: bool) -> SearchStrategy[int]:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return st.sampled_from([size for size in SIZES if low <= size <= high])


_VALUES: dict[int, SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: _whole(32, signed=True),
    FieldDescriptor.CPPTYPE_INT64: _whole(64, signed=True),
    FieldDescriptor.CPPTYPE_UINT32: _whole(32, signed=False),
    FieldDescriptor.CPPTYPE_UINT64: _whole(64, signed=False),
    FieldDescriptor.CPPTYPE_FLOAT: _floats,
    FieldDescriptor.CPPTYPE_DOUBLE: _floats,
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(-1, 30) | _whole(32, signed=True),
}


def _value(draw: DrawFn, field: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return draw(_texts)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return draw(_bytes)
    return draw(_VALUES[field.cpp_type])


def _is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _messages(message: Any) -> Iterator[Any]:
    """The message and all that are in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if _is_map(field):
            inner = list(value.values()) if field.message_type.fields_by_name["value"].message_type else []
        else:
            inner = list(value) if field.is_repeated else [value]
        for each in inner:
            yield from _messages(each)


def _change(draw: DrawFn, message: Any) -> None:
    places = list(_messages(message))
    place = places[draw(st.integers(0, len(places) - 1))]
    fields = place.DESCRIPTOR.fields
    if not fields:
        return
    field = fields[draw(st.integers(0, len(fields) - 1))]
    if draw(st.integers(0, 4)) == 0:
        place.ClearField(field.name)
    else:
        _CHANGES[_kind(field)](draw, place, field)


def _kind(field: Any) -> str:
    if _is_map(field):
        return "map"
    if field.is_repeated:
        return "list"
    return "message" if field.message_type is not None else "value"


def _change_map(draw: DrawFn, place: Any, field: Any) -> None:
    entries = getattr(place, field.name)
    value = field.message_type.fields_by_name["value"]
    key = draw(_texts)
    if value.message_type is None:
        entries[key] = _value(draw, value)
        return
    added = entries[key]
    for other in list(entries.values())[:1]:
        added.CopyFrom(other)
    _change(draw, added)


def _change_list(draw: DrawFn, place: Any, field: Any) -> None:
    items = getattr(place, field.name)
    times = draw(st.sampled_from((1, 1, 1, 2, 300)))
    if field.message_type is None:
        items.extend([_value(draw, field)] * times)
        return
    added = items[draw(st.integers(0, len(items) - 1))] if len(items) else items.add()
    items.extend([added] * min(times, 70))


def _change_message(draw: DrawFn, place: Any, field: Any) -> None:
    inner = getattr(place, field.name)
    inner.SetInParent()
    if draw(st.booleans()):
        _change(draw, inner)


def _change_value(draw: DrawFn, place: Any, field: Any) -> None:
    setattr(place, field.name, _value(draw, field))


_CHANGES: dict[str, Callable[[DrawFn, Any, Any], None]] = {
    "map": _change_map,
    "list": _change_list,
    "message": _change_message,
    "value": _change_value,
}


@st.composite
def changed_calls(draw: DrawFn, seeds: Sequence[Call]) -> GrpcInput:
    """One of `seeds` with fields changed in most of its messages, and bytes in some."""
    seed = seeds[draw(st.integers(0, len(seeds) - 1))]
    messages = []
    for message in seed.messages:
        changed = type(message)()
        changed.CopyFrom(message)
        for _ in range(draw(st.integers(0, 4))):
            _change(draw, changed)
        data = changed.SerializeToString()
        if draw(st.integers(0, 4)) == 0:
            # What is put behind a message is merged into it.
            data = draw(damaged(data)) + draw(st.sampled_from((b"", b"", data, b"\xfa\x3f\x01a", b"\x0b\x0c")))
        messages.append(data)
    return GrpcInput(seed.method, tuple(messages))
