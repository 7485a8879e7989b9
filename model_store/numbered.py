"""Numbered documents in a store, `<store>/<folder>/<n>.json`, each written once; the newest is current.

The number is the fence between writers: of two that append the same one, one gets `Conflict` and must look again.
"""

from __future__ import annotations

import re
from typing import Generic, Protocol, TypeVar, cast

import msgspec

from model_store.errors import Conflict, IntegrityError, StoreError
from model_store.filesystems import store_access
from model_store.seal import check_seal, seal
from model_store.store import Store

_FILE_NAME = re.compile(r"([1-9][0-9]*)\.json")


class _Document(Protocol):
    @property
    def number(self) -> int:
        """The number that the file is named by."""


D = TypeVar("D", bound=_Document)


class Numbered(Generic[D]):
    """The documents of one folder. `what` names one in messages, `remedy` says what to do about a damaged one."""

    def __init__(self, folder: str, kind: type[D], what: str, remedy: str) -> None:
        self._folder = folder
        self._kind = kind
        self._what = what
        self._remedy = remedy

    def numbers(self, store: Store) -> list[int]:
        """Numbers of the documents in the store, ascending. Raises `StoreError`."""
        with store_access(store.filesystem, "read"):
            names = store.filesystem.names(self._folder)
        return sorted(int(found[1]) for found in map(_FILE_NAME.fullmatch, names) if found)

    def append(self, store: Store, document: D) -> None:
        """Writes a document, whose number must be larger than all before it.

        Raises `Conflict` when that number, or a later one, exists already, and `StoreError`.
        """
        last = max(self.numbers(store), default=0)
        if document.number <= last:
            raise self._conflict(store, document.number, last)
        try:
            with store_access(store.filesystem, "written"):
                store.filesystem.create(self._path(document.number), seal(cast(msgspec.Struct, document)))
        except StoreError as error:
            if isinstance(error.__cause__, FileExistsError):
                raise self._conflict(store, document.number, document.number) from error
            raise

    def newest(self, store: Store) -> D | None:
        """The current document, None in a store that has none. Raises as `read` does."""
        present = self.numbers(store)
        return self.read(store, present[-1]) if present else None

    def read(self, store: Store, number: int) -> D:
        """Document `number`. Raises `IntegrityError` when damaged, `StoreError` when absent."""
        with store_access(store.filesystem, "read"):
            data = store.filesystem.read(self._path(number))
        try:
            check_seal(data, self._what)
            document = msgspec.json.decode(data, type=self._kind)
            if document.number != number:
                raise ValueError(f"it says number {document.number}")
        except (ValueError, RecursionError) as error:
            raise IntegrityError(
                f"{self._what} {number} in store {store.url!r} is damaged: {error}; {self._remedy}",
                store=store.url,
                number=number,
            ) from error
        return document

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number}.json"

    def _conflict(self, store: Store, number: int, last: int) -> Conflict:
        return Conflict(
            f"{self._what} {number} can't be written to store {store.url!r}: it has {self._what} {last} already; "
            "look at that one and repeat the change",
            store=store.url,
            number=number,
            newest=last,
        )
