"""A rendered notebook as a plain HTML file: all figures, each with a text alternative, and no kernel."""

import pytest
from conftest import ROOT, run
from lab_page import data_url, is_blank

pytestmark = pytest.mark.browser
FIGURES = {"02_specaugment_visualization": 2, "04_fixmatch_ablations": 11}


@pytest.mark.parametrize("name", FIGURES)
def test_static_copy_shows_its_figures(page, project, home, tmp_path, name):
    ran, html = tmp_path / f"{name}.ipynb", tmp_path / f"{name}.html"
    run(
        home, project, "-m", "papermill", project / "notebooks" / f"{name}.ipynb", ran, "--engine", "esc",
        "-k", "python3",
        "-p", "interactive", "False", "--no-progress-bar", "--cwd", project / "notebooks",
    )  # fmt: skip
    run(home, project, ROOT / "tools" / "page.py", ran)
    page.page.goto(html.as_uri())
    images = page.page.locator("img[src^='data:image/png']")  # formulas are SVG
    assert images.count() == FIGURES[name]
    seen = images.evaluate_all("all => all.map(e => [e.src, e.alt, e.complete ? e.naturalWidth : 0])")
    for source, alt, width in seen:
        assert width >= 200 and not is_blank(data_url(source))
        assert len(alt) > 20 and "No description" not in alt, f"a figure without a text alternative: {alt!r}"
    headings = page.page.locator("h2").all_text_contents()
    assert any(text.startswith("Takeaways") for text in headings)
    assert "find_spec" not in page.page.content(), "the source of a cell that is folded away"
    assert not page.page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count()
    assert page.problems == []
