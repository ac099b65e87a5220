"""The hash of the method's code: of what it says, on whichever Python it is read."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from esc_suite.records import provenance
from esc_suite.records.provenance import dump

ROOT = Path(__file__).resolve().parent.parent

CODE = "def f(x, *, y):\n    return {**x, 'é': [y + 1.5, None], 'z': [], f'{x:>{y}}': 0}\n"


def as_elsewhere(tree: ast.AST) -> ast.AST:
    """The tree as another Python has it: empty fields missing, others that this one lacks, an empty text in a
    format."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            node.values.append(ast.Constant(value=""))
        kept = [name for name in node._fields if getattr(node, name, None) not in (None, [])]
        node._fields = (*kept, "type_params", "default_value")
        node.type_params, node.default_value = [], None
    return tree


def test_the_same_code_is_the_same_text_on_another_python():
    here = ast.parse(CODE)
    assert dump(as_elsewhere(ast.parse(CODE))) == dump(here) == dump(ast.parse(f"# a comment\n{CODE}"))
    assert "type_params" not in dump(here) and "[]" not in dump(here) and dump(here).isascii()


@pytest.mark.parametrize(
    ("old", "new"),
    [("1.5", "1.25"), ("1.5", "2"), ("+", "-"), ("None", "1"), ("{**x, ", "{x: x, "), ("*, y", "y"), ("'é'",
     "'è'"),
     (">", "<"), ("[]", "[[]]"), ("[]", "()"), (", None", "")],
)  # fmt: skip
def test_other_code_is_another_text(old, new):
    assert CODE.count(old) == 1
    assert dump(ast.parse(CODE.replace(old, new))) != dump(ast.parse(CODE))


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """A copy of both packages inside another repository, (its folder, what it says of its commit, git in a
    folder)."""
    monkeypatch.delenv("GIT_DIR", raising=False)
    suite = tmp_path / "thesis" / "suite"
    for house in ("esc_utils", "esc_suite"):
        ignored = shutil.ignore_patterns("__pycache__", "standins", "assets")
        shutil.copytree(ROOT / house, suite / house, ignore=ignored)

    def git(*words: str) -> str:
        own = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(tmp_path / "thesis"))
        return subprocess.run([*own, *words], check=True, capture_output=True, text=True).stdout.strip()

    def said(**variables) -> list[str]:
        code = "from esc_suite.records import provenance; print(*provenance.commit())"
        words = [sys.executable, "-c", code]
        done = subprocess.run(
            words, cwd=suite, env=os.environ | variables, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    git("init", "-q")
    (tmp_path / "thesis" / "thesis.tex").write_text("text")
    git("add", "thesis.tex")
    git("commit", "-qm", "one")
    return suite, said, git


def test_the_commit_of_another_repository_is_never_ours(inside):
    """Not around the checkout, not even where it holds a copy of it; not by variables that a git hook
    sets."""
    suite, said, git = inside
    assert said() == ["unknown", "True"]
    git("add", "suite")
    git("commit", "-qm", "two")
    assert said() == ["unknown", "True"]
    assert said(GIT_DIR=str(suite.parent / ".git"), GIT_WORK_TREE=str(suite)) == ["unknown", "True"]


def test_a_repository_that_does_not_hold_the_code_is_not_its(inside):
    """`git init` in the unpacked folder, for something else."""
    suite, said, git = inside
    git("-C", "suite", "init", "-q")
    assert said() == ["unknown", "True"]
    (suite / "notes").write_text("")
    git("-C", "suite", "add", "notes")
    git("-C", "suite", "commit", "-qm", "notes")
    assert said() == ["unknown", "True"]
    git("-C", "suite", "add", "esc_utils")
    git("-C", "suite", "commit", "-qm", "code")
    assert said(GIT_DIR=str(suite.parent / ".git")) == [git("-C", "suite", "rev-parse", "HEAD"), "False"]


def test_a_package_that_a_run_does_not_need_may_be_missing(monkeypatch):
    """On Kaggle: the record of a trained run is not lost for it."""
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-package"))
    found = provenance.versions()
    assert found["no-such-package"] == "missing" and found["torch"][0].isdigit()
