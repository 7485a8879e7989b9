"""How long an edit of desired state is waited for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from model_store.errors import ModelNotReady
from model_store.store import Store
from serve.control import desired_edits as edits
from serve.control.desired_edits import Known
from serve.control.settling import Settling
from serve.operations import LoadModel
from tests.serve.administered import administered, convert, export


async def test_a_version_that_takes_too_long_to_load_is_given_up(tmp_path: Path) -> None:
    source = str(export(tmp_path / "two.onnx", 2))
    convert(Store.open(str(tmp_path / "store")), source, "m")
    known = Known(lambda m, v: None, lambda m: None, lambda m: ())
    load = partial(edits.load, operation=LoadModel(model="m"), known=known, made={"source": source})
    # With executor `replicas` and nobody who starts them.
    async with administered(tmp_path, {"name": "m", "source": source, "serve": {"executor": "replicas"}}) as served:
        edit = await served.desired.edit(load)
        with pytest.raises(ModelNotReady, match=r"'m' could not be called 0\.1 s after it was prepared"):
            await Settling(served.desired, loading_s=0.1).callable(edit, "m")
