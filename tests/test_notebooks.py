"""Anatomy of the notebooks: parameters first, prose around short cells, links that resolve, nothing
stored."""

import ast
import io
import re
import statistics
import tokenize
from pathlib import Path

import nbformat
import pytest

from esc_suite.run import needed_runs
from esc_utils import config
from esc_utils.config import RunConfig

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
PATHS = sorted(FOLDER.glob("0*.ipynb"))
each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def cells(path, kind="code"):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == kind]


def parameters(path):
    return next(cell for cell in cells(path) if "parameters" in cell.metadata.get("tags", []))


def lines(cell) -> int:
    return len(cell.source.splitlines())


def test_every_notebook_is_run_of_a_row_or_once():
    once = {*needed_runs.SUITE, *needed_runs.BOOKS_BEYOND}
    assert [path.stem for path in PATHS] == sorted({*needed_runs.NOTEBOOKS.values(), *once})


@each
def test_valid_with_the_plain_kernel_and_nothing_stored(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert not [c for c in notebook.cells if c.get("outputs") or c.get("execution_count")]
    assert not [c for c in notebook.cells if c.get("attachments")]


@each
def test_opens_with_title_scope_and_links(path):
    first, second = cells(path, "markdown")[:2]
    title, sentence, *_ = first.source.split("\n\n")
    assert title.startswith(f"# {path.stem[:2]} · ") and sentence.endswith(".")
    assert "**Makes**" in first.source and "**Takes**" in first.source and "**Runs on**" in first.source
    assert second.source.startswith("## What you will learn")
    assert 3 <= second.source.count("\n- ") <= 5
    last = [cell.source for cell in cells(path, "markdown")]
    assert any(source.startswith("## Takeaways") for source in last[-2:])


@each
def test_links_resolve_and_neighbours_are_linked(path):
    text = "\n".join(cell.source for cell in cells(path, "markdown"))
    found = set(re.findall(r"\]\(([^)#]+?)\)", text))
    assert not [link for link in found if not link.startswith("https://") and not (FOLDER / link).is_file()]
    at = PATHS.index(path)
    neighbours = {other.name for other in PATHS[max(0, at - 1) : at + 2]} - {path.name}
    assert neighbours <= found


@each
def test_first_code_cell_is_the_parameters_literals_only_one_a_line_each_explained(path):
    first = cells(path)[0]
    assert first is not None and "parameters" in first.metadata.get("tags", [])
    for node in ast.parse(first.source).body:
        assert isinstance(node, ast.Assign) and len(node.targets) == 1 and node.lineno == node.end_lineno
        ast.literal_eval(node.value)
    comments = [
        t.start[0]
        for t in tokenize.generate_tokens(io.StringIO(first.source).readline)
        if t.type == tokenize.COMMENT
    ]
    assert comments == list(range(1, lines(first) + 1)), "every parameter line ends in a comment"
    assert not re.findall(r"=.*=", "\n".join(line.split("#")[0] for line in first.source.splitlines()))


@each
def test_papermill_finds_every_parameter(path):
    import logging

    from papermill.inspection import inspect_notebook

    logging.disable(logging.CRITICAL)
    try:
        found = inspect_notebook(str(path))
    finally:
        logging.disable(logging.NOTSET)
    assert set(found) == {node.targets[0].id for node in ast.parse(parameters(path).source).body}
    assert {"profile", "data_dir", "outputs"} <= set(found)


@each
def test_knobs_in_the_parameters_cell_have_the_right_type(path):
    values = {
        node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(parameters(path).source).body
    }
    settings = config.from_notebook(values)
    assert all(
        getattr(settings, key) == value for key, value in values.items() if key in RunConfig.model_fields
    )


@each
def test_only_the_parameters_cell_assigns_knobs(path):
    """A later variable of a knob's name would become that knob when the set-up cell is run again."""
    for cell in cells(path)[1:]:
        code = re.sub(r"^%.*$", "", cell.source, flags=re.M)
        names = {
            node.id
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        assert not names & set(RunConfig.model_fields)


@each
def test_cells_are_short(path):
    sizes = [lines(cell) for cell in cells(path)]
    assert max(sizes) <= 40 and statistics.median(sizes) <= 10
    for cell in cells(path):
        for node in ast.walk(ast.parse(re.sub(r"^%.*$", "", cell.source, flags=re.M))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.end_lineno - node.lineno < 10, f"{node.name} belongs in esc_utils"


@each
def test_prose_stands_before_every_section_of_code(path):
    """No more than three code cells in a row, the set-up aside, and every section heading says why."""
    kinds = "".join(cell.cell_type[0] for cell in nbformat.read(path, 4).cells)
    assert "ccccc" not in kinds
    for cell in cells(path, "markdown"):
        if re.match(r"## \d", cell.source):
            assert len(cell.source.split("\n", 2)[-1]) > 40, cell.source


def folded(cell) -> bool:
    return bool(cell.metadata.get("jupyter", {}).get("source_hidden"))


@each
def test_plumbing_is_folded_away_and_the_method_is_not(path):
    """The bootstrap, three lines beside its imports, the set-up and cells that only say a computed
    sentence."""
    parameters, bootstrap, *rest = cells(path)
    assert folded(bootstrap) and not folded(parameters)
    statements = ast.parse(bootstrap.source).body
    assert len([node for node in statements if not isinstance(node, ast.Import | ast.ImportFrom)]) == 3
    if path.stem[:2] == "06":
        return
    assert folded(rest[0]) and "%matplotlib inline" in rest[0].source
    shown = [
        cell
        for cell in cells(path)
        if re.search(r"losses\.|training\.run|augment\.mixup|figures\.\w+\(", cell.source)
    ]
    assert not [
        cell.source
        for cell in shown
        if folded(cell) and not re.search(r"one_vs_rest|fold_curves", cell.source)
    ]


@each
def test_each_figure_is_followed_by_how_to_read_it(path):
    if path.stem[:2] == "06":
        return
    found = nbformat.read(path, 4).cells
    drawn = [
        i
        for i, cell in enumerate(found)
        if cell.cell_type == "code" and re.search(r"keep\(|keeper\(.*\)\(", cell.source)
    ]
    drawn = [i for i in drawn if "keep = keeper" not in found[i].source]
    assert len(drawn) >= 2
    for i in drawn:
        if "one_class = figures.mean_roc(" in found[i].source or 'name="clip"' in found[i].source:
            continue  # read like the one before it; said in the cell above
        assert found[i + 1].source.startswith("**How to read it.** "), found[i].source


@each
def test_inline_figures_and_no_machine_path(path):
    source = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
    assert source.count("%matplotlib inline") == 1
    assert not re.findall(r"/(?:home|root|work|tmp|Users|mnt)/|[A-Z]:\\\\", source)


@each
def test_results_are_computed_not_typed(path):
    """Prose holds no percentage or accuracy: such numbers come from the cells, or from the paper and say
    so."""
    for cell in cells(path, "markdown"):
        assert not re.findall(r"\d+\.\d+\s*%", cell.source), cell.source


EQUATIONS = {  # as they stand in LaTeX, by their tag
    1: r"y_u = P(u_\mathrm{weak})",
    2: r"\mathrm{mask} = \mathbb{1}(\max y_u \ge \tau)",
    3: r"L_u = \mathrm{mask} \cdot \mathrm{CE}(P(u_\mathrm{strong}),\, \arg\max y_u)",
    4: r"L_s = \mathrm{CE}(P(x),\, y)",
    5: r"L = L_s + \lambda_u L_u",
}
SHOWN = {
    "03_supervised_pann_baseline": ((4,), ("Cnn14", "losses.supervised", "augment.mixup", "figures.network")),
    "04_fixmatch_ablations": (
        (1, 2, 3, 4, 5),
        (
            "augment.views",
            "losses.accepted",
            "losses.fixmatch",
            "losses.supervised",
            "losses.total",
            "figures.fixmatch_step",
        ),
    ),
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_method_is_shown_before_the_run(name):
    """Each equation stands in LaTeX, followed by code, and what computes it is called, all before the run
    starts."""
    numbers, calls = SHOWN[name]
    found = nbformat.read(FOLDER / f"{name}.ipynb", 4).cells
    run = next(i for i, cell in enumerate(found) if "train.run(" in cell.source)
    before = found[:run]
    for number in numbers:
        formula = f"$${EQUATIONS[number]} \\tag{{{number}}}$$"
        at = [
            i
            for i, cell in enumerate(before)
            if cell.cell_type == "markdown" and formula in cell.source.splitlines()
        ]
        assert len(at) == 1, formula
        assert before[at[0] + 1].cell_type == "code"
    code = "\n".join(cell.source for cell in before if cell.cell_type == "code")
    assert not [call for call in calls if f"{call}(" not in code]


def test_every_equation_is_in_the_readme():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| \d: ", line)]
    assert [int(row[2]) for row in rows] == list(EQUATIONS)


def test_the_ablations_stand_at_the_end_of_the_fixmatch_notebook():
    sources = [cell.source for cell in cells(FOLDER / "04_fixmatch_ablations.ipynb")]
    run = next(i for i, source in enumerate(sources) if "train.run(" in source)
    assert any("ablations(settings)" in source for source in sources[run:])


def test_ablations_are_read_from_what_is_finished(tmp_path):
    import records

    from esc_suite.notebook import ablations, ablations_table

    settings = config.for_run("quick", "fixmatch_tau075", outputs=str(tmp_path))
    assert not [row for rows in ablations(settings).values() for row in rows if row["accuracy"] is not None]
    records.write(tmp_path, "fixmatch_tau075", 60, profile="quick")
    records.write(tmp_path, "fixmatch_tau095", 50, profile="quick")
    damaged = records.write(tmp_path, "pann_control", 55, profile="quick").folder / "metrics.json"
    damaged.write_text("{")
    built = ablations(settings)
    shown = [
        (name, row["experiment"])
        for name, rows in built.items()
        for row in rows
        if row["accuracy"] is not None
    ]
    assert shown == [
        ("table2", "fixmatch_tau095"),
        ("table3", "fixmatch_tau095"),
        ("table3", "fixmatch_tau075"),
        ("table4", "fixmatch_tau075"),
    ]
    html = ablations_table(built).to_html()
    assert html.count("fixmatch") == 0 and "Table 4" in html and "(FixMatch" in html
