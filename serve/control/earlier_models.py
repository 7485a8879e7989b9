"""Models as they were last desired, found in the generations of a store."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from model_store import generations
from model_store.errors import IntegrityError
from model_store.generations import Generation
from model_store.store import Store
from serve.control.model_documents import Document


class EarlierModels:
    """Generations are read, newest first, only as far as somebody asks."""

    def __init__(self, store: Store, newest: Generation) -> None:
        self._store = store
        self._models: dict[str, Document] = {}
        self._unread_below = newest.number
        self.note(newest.config["models"])

    def note(self, models: Iterable[Document]) -> None:
        """Models as they are desired now."""
        self._models.update({model["name"]: model for model in models})

    def find(self, name: str) -> Document | None:
        """The model, None where no generation names it. Blocks; raises `StoreError`."""
        unread = [n for n in generations.numbers(self._store) if n < self._unread_below] if self._lacks(name) else []
        while self._lacks(name) and unread:
            number = unread.pop()
            with suppress(IntegrityError):
                for model in generations.read(self._store, number).config["models"]:
                    self._models.setdefault(model["name"], model)
            self._unread_below = number
        return self._models.get(name)

    def _lacks(self, name: str) -> bool:
        return name not in self._models
