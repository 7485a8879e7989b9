"""Damaged files end in the project's own error, soon and in little memory. `fuzzing.py` tries as many as one likes."""

from tests.converters.mxnet.fuzzing import LIMIT_BYTES, fuzz


def test_damaged_files_are_converted_or_refused_in_bounded_memory() -> None:
    failures, summary = fuzz(start=0, count=2000)
    assert failures == []
    assert set(summary["outcomes"]) <= {"converted", "SourceError", "ConversionError", "ConfigError"}
    assert summary["outcomes"]["converted"] > 50
    assert summary["grown_bytes"] < LIMIT_BYTES
