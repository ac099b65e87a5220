"""The README promises only what is there."""

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-TW.md").read_text(encoding="utf-8")
PAGES = (
    "README.md",
    "README.zh-TW.md",
    "notebooks/README.md",
    *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")),
)


def commands(text) -> list[str]:
    """Commands of all shell blocks, without comments, continued lines joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(line.split("#")[0].split()) for line in lines if line.split("#")[0].strip()]


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_exist(page):
    path = ROOT / page
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert targets or page == "docs/kaggle.md"
    assert not [target for target in targets if not (path.parent / target).exists()]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120 and len(CHINESE.splitlines()) <= 120


@pytest.mark.parametrize("page", ["README.md", "README.zh-TW.md"])
def test_the_gallery_shows_every_notebook_once_with_its_question_as_text_alternative(page):
    block = (
        (ROOT / page)
        .read_text(encoding="utf-8")
        .partition("<!-- gallery -->\n")[2]
        .partition("<!-- /gallery -->")[0]
    )
    shown = re.findall(r"\[!\[([^\]]+)\]\(([^)]+\.png)\)\]\(([^)]+\.ipynb)\)", block)
    books = [path.stem for path in sorted(ROOT.glob("notebooks/0*.ipynb"))]
    copies = {path.stem for path in ROOT.glob("outputs/evidence/*/notebooks/*.ipynb")}
    assert len(shown) >= 6 and [Path(link).stem for _, _, link in shown] == [
        name for name in books if name in copies
    ]
    for question, picture, link in shown:
        assert len(question) > 5 and (ROOT / picture).stat().st_size < 50_000
        copy = json.loads((ROOT / link).read_text(encoding="utf-8"))
        assert "image/png" in json.dumps(copy["cells"]), f"{link} shows no figure"
        assert (ROOT / link).stat().st_size < 1_000_000


def test_chinese_commands_are_the_english_ones():
    assert len(commands(CHINESE)) >= 3
    assert set(commands(CHINESE)) <= set(commands(README))
    inline = set(re.findall(r"`(make [^`]+)`", CHINESE))
    assert inline and inline <= set(re.findall(r"`(make [^`]+)`", README)), (
        "commands in the running text and the tables"
    )


def test_chinese_and_english_link_to_each_other_and_promise_the_same():
    assert "](README.md" in CHINESE and "](README.zh-TW.md)" in README
    for text in (README, CHINESE):
        assert re.findall(r"^\| `([\w-]+)` \|", text, re.M) == ["quick", "lite", "paper-partial", "paper"]
        assert all(word in text for word in ("CC BY-NC", "CC BY 4.0", "MIT"))


def test_landing_page_lists_every_notebook_once():
    page = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    books = [path.name for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    assert re.findall(r"^\| \[.*?\]\((.*?\.ipynb)\)", page, re.M) == books
    assert f"notebooks/{books[0]}" in (ROOT / "Makefile").read_text(), "make lab opens the first"


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY:(.*)$", makefile, re.M).group(1).split())
    named = set(re.findall(r"(?:`|^)make ([a-z][\w-]*)", README, re.M))
    assert named <= phony, f"README names targets that are not there: {named - phony}"


def test_every_dependency_is_explained():
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    section = README.partition("## What is installed")[2].partition("\n## ")[0]
    named = [name for cell in re.findall(r"^\| ([^|]+) \|", section, re.M)[1:] for name in cell.split(", ")]
    assert sorted(named) == sorted(re.match(r"[\w.-]+", need)[0] for need in needs)
    imported = "".join(
        path.read_text() for house in ("esc_utils", "esc_suite") for path in (ROOT / house).rglob("*.py")
    )
    assert re.search(r"^\s+import seaborn", imported, re.M) and "torchaudio" in imported, "README says so"
