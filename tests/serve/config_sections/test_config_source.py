"""Places in a config, as users read them."""

from __future__ import annotations

from serve.config_sections.source import render_path


def test_a_path_reads_as_users_write_it() -> None:
    assert render_path(("models", 0, "serve", "cpus")) == "models[0].serve.cpus"
    assert render_path(()) == ""
