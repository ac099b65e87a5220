"""The README promises only what is there."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY:(.*)$", makefile, re.M).group(1).split())
    named = set(re.findall(r"(?:`|^)make ([a-z][\w-]*)", README, re.M))
    assert named <= phony, f"README names targets that are not there: {named - phony}"


@pytest.mark.parametrize("profile", ["quick"])
def test_shown_results_are_the_committed_files(profile):
    sys.path.insert(0, str(ROOT / "workflow"))
    import evidence

    assert evidence.insert(profile, README) == README, "run `python workflow/evidence.py`"
    assert "synthesised audio" in evidence.block(profile)
