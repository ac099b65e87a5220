"""Formulas of the notebooks on pages that load nothing: every one is set, and its source is its
alternative."""

import base64
import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import formulas  # noqa: E402

SOURCES = [
    cell.source
    for path in sorted((ROOT / "notebooks").glob("0*.ipynb"))
    for cell in nbformat.read(path, 4).cells
    if cell.cell_type == "markdown"
]


def test_every_formula_of_the_notebooks_is_set():
    found = [text for text in SOURCES if "$" in re.sub(r"`[^`]*`", "", text)]
    assert len(found) >= 5, "equations 1 to 5"
    for text in found:
        made = formulas.pictured(text)
        assert "$" not in re.sub(r"`[^`]*`|alt=\"[^\"]*\"", "", made), text
        for data in re.findall(r"base64,([^\"]+)", made):
            assert base64.b64decode(data).rstrip().endswith(b"</svg>")


@pytest.mark.parametrize(
    "text",
    [
        "costs $5 and $6",
        "$5 and\n$6",
        "$a\n\nb$",
        "`$x$`",
        "```\na = $x$\n```",
        r"$\unknown{x}$",
        "no formula",
    ],
)
def test_what_is_no_formula_stays(text):
    assert formulas.pictured(text) == text


def test_a_displayed_formula_keeps_its_number_and_its_source():
    made = formulas.pictured(r"$$\mathrm{mask} = \mathbb{1}(\max y_u \ge \tau) \tag{2}$$")
    assert (
        made.startswith("<p")
        and "(2)" in made
        and r'alt="\mathrm{mask} = \mathbb{1}(\max y_u \ge \tau)"' in made
    )
