"""Which module may import which: esc_utils is the method, esc_suite runs it and shows it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OUTSIDE = {"esc_suite", "papermill", "snakemake", "ipywidgets", "IPython", "jupyter_client", "ipykernel",
           "nbclient",
           "nbformat", "matplotlib", "seaborn"}  # fmt: skip
METHOD = sorted((ROOT / "esc_utils").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of the modules, and of the names in them, that a file imports, wherever it does."""
    package, found = path.relative_to(ROOT).with_suffix("").parts[:-1], set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", METHOD, ids=lambda path: path.stem)
def test_the_method_knows_nothing_of_what_runs_and_shows_it(path):
    assert not {name.split(".")[0] for name in imported(path)} & OUTSIDE


@pytest.mark.parametrize("path", METHOD, ids=lambda path: path.stem)
def test_a_file_of_the_method_is_read_at_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 280


@pytest.mark.parametrize("house", ["esc_utils", "esc_suite"])
def test_no_circles(house):
    """Modules can be put into an order in which each imports earlier ones only."""
    files = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in (ROOT / house).rglob("*.py")}
    needs = {
        name: {other for other in files if other != name and other in imported(path)}
        for name, path in files.items()
    }
    while needs:
        free = {name for name, others in needs.items() if not others & set(needs)}
        assert free, f"a circle among {sorted(needs)}"
        needs = {name: others for name, others in needs.items() if name not in free}


# ---- docs/architecture.md ------------------------------------------------------------------------
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
# Each imports earlier ones only
ROOMS = ("inputs", "records", "results", "figures", "run", "tables", "notebook", "label", "explore")


def room(path: Path) -> str:
    """Room of a module of esc_suite; its two files outside of folders share one."""
    return path.relative_to(ROOT / "esc_suite").parts[0] if path.parent.name != "esc_suite" else "notebook"


def test_rooms_of_the_suite_stand_in_the_order_of_the_picture():
    found = {name: set() for name in ROOMS}
    for path in (ROOT / "esc_suite").rglob("*.py"):
        names = {name.split(".")[1] for name in imported(path) if name.startswith("esc_suite.")}
        found[room(path)] |= names - {room(path)}
    assert all(not others & set(ROOMS[ROOMS.index(name) :]) for name, others in found.items())
    arrows = re.findall(r"^  (\w+) --> (.+)$", PAGE, re.M)
    assert {a: set(b.split(" & ")) for a, b in arrows if a != "suite"} == {
        a: b for a, b in found.items() if b
    }


def test_lines_in_the_picture():
    shown = {
        name: int(lines.replace(",", ""))
        for name, lines in re.findall(r"(\w+)\[\".*?([\d,]+) lines\"\]", PAGE)
    }
    beside = ("beyond", "standins")  # folders of esc_utils that a reader of the paper's method may skip
    counted = dict.fromkeys([*ROOMS, "method", *beside], 0)
    for path in [*METHOD, *(ROOT / "esc_suite").rglob("*.py")]:
        suite = path.is_relative_to(ROOT / "esc_suite")
        name = room(path) if suite else path.parent.name if path.parent.name in beside else "method"
        counted[name] += len(path.read_text(encoding="utf-8").splitlines())
    assert shown.keys() == counted.keys()
    assert all(abs(lines - counted[name]) <= max(100, lines / 10) for name, lines in shown.items()), counted


def test_a_clip_meets_every_file_once():
    walk = PAGE.partition("<!-- clip -->")[2].partition("<!-- /clip -->")[0]
    files = re.findall(r"^\d+\. \[`(.+?)`\]\(\.\./(.+?)\)", walk, re.M)
    assert len(files) > 10 and len(set(files)) == len(files) == len(re.findall(r"^\d+\.", walk, re.M))
    assert all(shown == target and (ROOT / target).is_file() for shown, target in files)
