"""Who changed what: generations side by side."""

from __future__ import annotations

from typing import Any

from model_store import generations, served
from model_store.served import Served
from model_store.store import Store
from serve.config import Config
from serve.control.history import ModelChange, history
from serve.differences import Difference


def append(store: Store, number: int, *models: dict[str, Any], **keys: Any) -> None:
    config = Config.model_validate({"store": "/store", "models": list(models), **keys})
    generations.append(store, number, config.document(), "user:ada", f"change {number}")


A = {"name": "a", "source": "/a.onnx"}
B = {"name": "b", "source": "/b.onnx"}


def test_each_generation_says_what_it_changed(store: Store) -> None:
    append(store, 1, A)
    append(store, 2, A, B)
    append(store, 3, A | {"serve": {"cpus": 2}}, B)
    append(store, 4, B)
    append(store, 5, B, allowed_sources=[])
    assert [(entry.number, entry.why, entry.changes) for entry in history(store).generations] == [
        (5, "change 5", ()),
        (4, "change 4", (ModelChange("a", "retire"),)),
        (3, "change 3", (ModelChange("a", "change", (Difference("serve.cpus", 1, 2),)),)),
        (2, "change 2", (ModelChange("b", "add"),)),
        (1, "change 1", (ModelChange("a", "add"),)),
    ]
    assert history(store).generations[0].settings == (Difference("allowed_sources", ["file://*"], []),)
    assert {entry.by for entry in history(store).generations} == {"user:ada"}


def test_of_one_model_only_what_changed_it_is_told_and_what_was_served(store: Store) -> None:
    append(store, 1, A)
    append(store, 2, A, B)
    append(store, 3, A | {"serve": {"cpus": 2}})
    document = {"name": "a", "versions": [{"version": 4, "traffic": 90, "label": "stable"}, {"version": 5}]}
    served.append(store, Served(1, "a", "2026-01-02T03:04:05+00:00", 1, document, "user:ada"))
    found = history(store, "a")
    assert [entry.number for entry in found.generations] == [3, 1]
    assert [(each.number, each.generation, each.text) for each in found.served] == [
        (1, 1, "version 4 (stable) 90%, version 5 0%")
    ]
    assert [entry.number for entry in history(store, "b").generations] == [3, 2]
    assert history(store, "absent").generations == ()


def test_no_more_is_told_than_was_asked_for(store: Store) -> None:
    for number in range(1, 6):
        append(store, number, A | {"serve": {"cpus": number}})
    assert [entry.number for entry in history(store, limit=2).generations] == [5, 4]
    assert [entry.number for entry in history(store, "a", limit=3).generations] == [5, 4, 3]


def test_a_damaged_generation_is_passed_over(store: Store) -> None:
    append(store, 1, A)
    store.filesystem.create("generations/2.json", b"{")
    append(store, 3, A, B)
    assert [(entry.number, entry.changes) for entry in history(store).generations] == [
        (3, (ModelChange("b", "add"),)),
        (1, (ModelChange("a", "add"),)),
    ]


def test_a_key_that_is_new_since_a_generation_was_written_is_no_change(store: Store) -> None:
    append(store, 2, A)
    old = generations.read(store, 2).config
    del old["models"][0]["keep_previous_s"]
    generations.append(store, 3, old)
    append(store, 4, A)
    assert [entry.changes for entry in history(store).generations[:2]] == [
        (ModelChange("a", "change"),),
        (ModelChange("a", "change"),),
    ]


def test_an_empty_store_has_none(store: Store) -> None:
    assert history(store).generations == ()
