import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from converters.base import detect
from converters.boosting.formats import Format, format_of, is_boosting, served_format
from model_store.errors import SourceError

LEGACY = struct.pack("<fIi", 0.5, 4, 0) + bytes(124) + struct.pack("<Q", 15) + b"binary:logistic" + struct.pack("<Q", 4)
"""XGBoost's old binary format up to the name of its booster: LearnerModelParamLegacy, then the objective."""


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b'{"learner":{"attributes":{}', Format.XGBOOST_JSON),
        (b'{\n  "version": [3, 2, 0]', Format.XGBOOST_JSON),
        (b"{L\0\0\0\0\0\0\0\7learner{", Format.XGBOOST_UBJ),
        (b"{i\7version[", Format.XGBOOST_UBJ),
        (b"tree\nversion=v4\n", Format.LIGHTGBM_TEXT),
        (b"tree\r\nversion=v3\r\n", Format.LIGHTGBM_TEXT),
        (b"CBM1\x60\x1a\0\0", Format.CATBOOST_BINARY),
        (b'{\n  "features_info":\n    {', Format.CATBOOST_JSON),
        (b'{"ctr_data":{', Format.CATBOOST_JSON),
        (b'{"models": []}', None),
        (b"", None),
    ],
)
def test_the_first_bytes_tell_the_format(tmp_path: Path, head: bytes, expected: Format | None) -> None:
    (tmp_path / "m").write_bytes(head)
    assert format_of(tmp_path / "m") is expected
    assert is_boosting(tmp_path / "m") is (expected is not None)


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (LEGACY + b"dart", r"XGBoost's old binary format, which XGBoost 3\.1 .*\.save_model\('model\.ubj'\)`"),
        (b"binf" + LEGACY + b"dart", r"XGBoost's old binary format"),
        (b'[\n  { "nodeid": 0, "depth": 0', r"a dump of XGBoost's `dump_model\(\)`, .*save_model\('model\.ubj'\)`"),
        (b"booster[0]:\n0:[f0<0.5] yes=1,no=2", r"a dump of XGBoost's `dump_model\(\)`"),
        (json.dumps({"name": "tree", "version": "v4"}).encode(), r"a dump of LightGBM's `dump_model\(\)`"),
    ],
)
def test_formats_that_can_t_be_served_are_told_with_what_to_do(tmp_path: Path, data: bytes, advice: str) -> None:
    source = tmp_path / "m.bin"
    source.write_bytes(data)
    assert detect(source).framework == "boosting"
    with pytest.raises(SourceError, match=rf"source 'm\.bin' is .*{advice}"):
        served_format(source)


def test_a_catboost_file_is_detected(exports: Callable[[str], Path]) -> None:
    assert detect(exports("boosting") / "cat-classes.cbm").framework == "boosting"
