"""Every error that onegate raises on purpose.

    OnegateError
    |-- InvalidInput          the caller's tensors, body or parameters are wrong
    |   `-- PayloadTooLarge   the body is larger than the endpoint accepts
    |-- ModelNotFound         no such model, version, label or signature
    |-- ModelNotReady         it exists and can't answer now (loading, failed, no replica left)
    |-- OutOfMemory           there is not enough memory to load or run it
    |-- Overloaded            the queue is full; trying later may help
    |-- DeadlineExceeded      the answer did not come within the request's deadline
    |-- Unsupported           a well-formed wish that this endpoint does not fulfil
    |-- ConfigError           the config says something that can't be
    |-- SourceError           the exported file is missing, empty, cut off or of no known kind
    |   `-- TrustRequired     reading it would run code, and nobody said `trust: true`
    |-- ConversionError       no ONNX model that computes the same could be made
    |-- StoreError            the store can't be read or written
    |   |-- IntegrityError    bytes differ from the digest they are stored under
    |   `-- NotSigned         no trusted key vouches for the version as it is
    |-- Unauthenticated       the call brings no credentials where some are needed, or wrong ones
    |-- Forbidden             the caller may not ask this
    |-- RateLimited           the caller asks more often, or more at once, than its key admits
    |-- Conflict              somebody else changed the same thing first
    `-- InternalError         a defect of onegate or of a framework; the caller did nothing wrong

The base lives in the lowest package so that every package raises its own kinds. No kind knows a
protocol: `serve/errors.py` maps kinds to status numbers.
"""

from __future__ import annotations

from typing import Any, Self


class OnegateError(Exception):
    """Base of all errors; `message` is one line that says what was expected, what came and what to do.

    `details` carries the values of the message for programs. Instances survive pickling, details
    included, because Ray and the conversion sandbox carry them between processes.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.details))

    @classmethod
    def _new(cls, message: str, details: dict[str, Any]) -> Self:
        return cls(message, **details)


def _rebuild(kind: type[OnegateError], message: str, details: dict[str, Any]) -> OnegateError:
    return kind._new(message, details)


def first_line(error: BaseException | str | None) -> str:
    """What an error of a library says, in one line: its first, cut at 300 characters; else its type."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def named_line(error: BaseException | None) -> str:
    """As `first_line`, with the error's type in front: for errors whose text alone tells little."""
    line, kind = first_line(error), type(error).__name__
    return line if line == kind else f"{kind}: {line}"


class InvalidInput(OnegateError):
    """The caller's tensors, body or parameters are wrong; sending the same again fails again."""


class PayloadTooLarge(InvalidInput):
    """The body is larger than the endpoint accepts."""


class ModelNotFound(OnegateError):
    """No model, version, label or signature of that name."""


class ModelNotReady(OnegateError):
    """The model exists and can't answer now."""


class OutOfMemory(OnegateError):
    """There is not enough memory, of the machine or of its GPU, to load or run the model."""


class Overloaded(OnegateError):
    """The queue is full: the request was not started and may be sent again later."""


class DeadlineExceeded(OnegateError):
    """The deadline passed before there was an answer."""


class Unsupported(OnegateError):
    """A well-formed wish that this endpoint does not fulfil."""


class ConfigError(OnegateError):
    """The config, or an option of the command, says something that can't be."""


class SourceError(OnegateError):
    """The exported file is missing, empty, cut off or of no known kind."""


class TrustRequired(SourceError):
    """Reading the source would run code that it carries, and the config does not say `trust: true`."""


class ConversionError(OnegateError):
    """No ONNX model that provably computes the same could be made from the source."""


class StoreError(OnegateError):
    """The model store can't be read or written."""


class IntegrityError(StoreError):
    """Bytes in the store differ from the digest that they are stored under."""


class NotSigned(StoreError):
    """The config asks for signed versions, and no trusted key has signed this one as it is."""


class Unauthenticated(OnegateError):
    """The call brings no credentials where some are needed, or some that are unknown, revoked or expired."""


class Forbidden(OnegateError):
    """The caller may not ask this."""


class RateLimited(OnegateError):
    """The caller asks more often, or more at once, than its key admits; `retry_after_s` says when to come again."""


class Conflict(OnegateError):
    """Somebody else changed the same thing first; look again and repeat."""


class InternalError(OnegateError):
    """A defect of onegate or of a framework underneath; the caller did nothing wrong."""


def _kinds(base: type[OnegateError]) -> list[type[OnegateError]]:
    return [base, *(kind for sub in base.__subclasses__() for kind in _kinds(sub))]


ERROR_KINDS: dict[str, type[OnegateError]] = {kind.__name__: kind for kind in _kinds(OnegateError)}
"""Name -> class, for errors that cross a process boundary as text."""
