"""Which module may import which: esc_utils is the method, esc_suite runs it and shows it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OUTSIDE = {"esc_suite", "papermill", "snakemake", "ipywidgets", "IPython", "jupyter_client", "ipykernel", "nbclient",
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
    needs = {name: {other for other in files if other != name and other in imported(path)} for name, path in files.items()}
    while needs:
        free = {name for name, others in needs.items() if not others & set(needs)}
        assert free, f"a circle among {sorted(needs)}"
        needs = {name: others for name, others in needs.items() if name not in free}
