"""How `make site` builds the documentation: the pages of this repository, linked as they are there.

The source folder is the repository itself, so that a link in README.md or between pages means the same here and in a
checkout. What is built needs no other address: no fonts, scripts or pictures from elsewhere.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

project = "onegate"
author = copyright = "The onegate authors"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md", "docs/**"]
exclude_patterns = ["docs/site/**"]

myst_heading_anchors = 4  # as deep as a page links to headings of another

html_theme = "furo"
html_title = f"onegate {release}"
html_copy_source = False
html_show_sourcelink = False
html_extra_path = ["root"]  # leads from the site's first address to the start page
html_theme_options = {"top_of_page_buttons": []}

# `tree` is no language, and answers of a console need not be the JSON that they begin as.
suppress_warnings = ["misc.highlighting_failure"]
