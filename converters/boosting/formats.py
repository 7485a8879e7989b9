"""Which library wrote a file, told by its first bytes."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

from converters.headers import read_head
from model_store.errors import SourceError


class Format(Enum):
    """A file that is served; the values are the usual endings."""

    XGBOOST_JSON = ".json"
    XGBOOST_UBJ = ".ubj"
    LIGHTGBM_TEXT = ".txt"
    CATBOOST_BINARY = ".cbm"
    CATBOOST_JSON = ".catboost.json"


_SERVED = {
    Format.XGBOOST_JSON: re.compile(rb'\s*\{\s*"(learner|version)"\s*:'),
    Format.XGBOOST_UBJ: re.compile(rb"\{(L.{8}|l.{4}|I.{2}|[iU].)(learner|version)", re.DOTALL),
    Format.LIGHTGBM_TEXT: re.compile(rb"tree\r?\nversion=v\d"),
    Format.CATBOOST_BINARY: re.compile(rb"CBM1"),
    Format.CATBOOST_JSON: re.compile(
        rb'\s*\{\s*"(ctr_data|features_info|model_info|oblivious_trees|scale_and_bias)"\s*:'
    ),
}

_REFUSED = {
    # LearnerModelParamLegacy is 136 bytes long, two strings with their lengths follow: objective and booster.
    re.compile(rb"(binf)?.{136}[\x01-\x40]\0{7}(\w+:?\w+).{1}\0{7}(gbtree|gblinear|dart)", re.DOTALL): (
        "is of XGBoost's old binary format, which XGBoost 3.1 and later do not read; load it with xgboost 3.0 or "
        "earlier and write it again: `xgboost.Booster(model_file='old.model').save_model('model.ubj')`"
    ),
    re.compile(rb'\s*\{\s*"name"\s*:\s*"tree"'): (
        "is a dump of LightGBM's `dump_model()`, which LightGBM itself can't load; save the model instead: "
        "`booster.save_model('model.txt')`"
    ),
    re.compile(rb'(booster\[\d+\]:\r?\n)?\s*0:(\[[^\]]+\] yes=|leaf=)|\s*\[\s*\{\s*"nodeid"\s*:'): (
        "is a dump of XGBoost's `dump_model()`, which XGBoost itself can't load; save the model instead: "
        "`booster.save_model('model.ubj')`"
    ),
}


def format_of(source: Path) -> Format | None:
    """The format of a file that is served; None for anything else."""
    head = read_head(source)
    return next((each for each, pattern in _SERVED.items() if pattern.match(head)), None)


def is_boosting(source: Path) -> bool:
    """Whether one of the libraries wrote the file, be it in a format that is refused."""
    return format_of(source) is not None or _refusal(source) is not None


def served_format(source: Path) -> Format:
    """The format of the file; raises `SourceError`, which says how to save it instead, for one that can't be served."""
    found = format_of(source)
    if found is None:
        raise SourceError(
            f"source {source.name!r} {_refusal(source) or 'is no model of XGBoost, LightGBM or CatBoost'}"
        )
    return found


def _refusal(source: Path) -> str | None:
    head = read_head(source)
    return next((text for pattern, text in _REFUSED.items() if pattern.match(head)), None)
