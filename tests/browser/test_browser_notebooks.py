"""Every notebook in JupyterLab: Run All, no error, nothing from off the machine; every slider moves the
figure and back."""

from pathlib import Path

import pytest
from lab_page import FOLDED, is_blank

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
FIGURES = ".jp-OutputArea-output.jp-RenderedImage img"
SLIDERS = {"02": 8, "04": 2}  # and none elsewhere
BOXES = {"05": 2, "06": 1}  # at least: one for each row of the ROC curves; the order of the runs
DRAWN = {"01": 6, "02": 2, "03": 4, "04": 11, "05": 5}  # figures: 05's third is FixMatch against its control
EXPLORERS = ("01", "02", "04", "05", "06")
MOST_KEYS = 15  # a tiny run has few clips, and one step may lie between two confidences

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", [path.name for path in NOTEBOOKS])
def test_run_all(page, lab, report, name):
    try:
        page.open(lab, f"notebooks/{name}")
        page.run_all()
        page.settle()
        page.assert_clean()
        assert page.page.locator(FOLDED).count() >= 1, "the bootstrap is folded away"
        figures = page.page.locator(FIGURES)
        number = name[:2]
        assert figures.count() >= DRAWN.get(number, 2)
        assert all(figures.evaluate_all("all => all.map(e => e.complete && e.naturalWidth >= 200)"))
        if number in EXPLORERS:
            assert page.page.locator(".jp-OutputArea-output .widget-dropdown, .widget-slider").count(), (
                "no controls"
            )
        assert len(page.sliders()) == SLIDERS.get(number, 0)
        for at, label in enumerate(page.sliders()):
            seconds = move_and_back(page, label)
            if at == 0:
                report(f"{number}: first widget response {seconds:.2f} s ({label})")
        choose_and_back(page)
        tick_and_back(page, BOXES.get(number, 0))
        press_and_type(page, number)
        page.assert_clean()
    finally:
        page.page.wait_for_timeout(100)
        lab.end_sessions()


def move_and_back(page, label) -> float:
    """Arrow keys until the pictures change, then as many back; seconds to the first change of what is
    shown."""
    slider = page.slider(label)
    slider.scroll_into_view_if_needed()
    shown, first, value = page.shown(), page.pictures(), page.readout(label)
    assert first and not any(map(is_blank, first))
    at_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
    there, back = ("ArrowLeft", "ArrowRight") if at_end else ("ArrowRight", "ArrowLeft")
    seconds, keys = None, 0
    while page.pictures() == first:
        assert keys < MOST_KEYS, f"{label}: {keys} keys and no change of the figure"
        took = page.press(slider, there)
        seconds, keys = seconds if seconds is not None else took, keys + 1
    assert page.readout(label) != value
    for _ in range(keys):
        slider.press(back)
    assert page.becomes(shown) and page.pictures() == first, f"{label} back again does not restore the figure"
    assert page.readout(label) == value
    return seconds


def choose_and_back(page):
    """Every menu that stands on its first choice, by keyboard: the last one changes what is shown, the first
    restores it."""
    for menu in page.page.locator(".widget-dropdown:visible select").all():
        if menu.locator("option").count() > 1 and menu.evaluate("e => e.selectedIndex") == 0:
            before = page.shown()
            assert page.press(menu, "End", patience=20) is not None, "a menu changes nothing"
            assert page.shown() != before
            menu.press("Home")
            assert page.becomes(before), "a menu back again does not restore what was shown"


def tick_and_back(page, least: int):
    """Every box by the space bar: it changes what is shown, and a second time restores it."""
    boxes = page.page.locator(".widget-checkbox:visible input[type=checkbox]").all()
    assert len(boxes) >= least
    for box in boxes:
        before = page.shown()
        assert page.press(box, "Space", patience=20) is not None, "a box changes nothing"
        assert page.shown() != before
        box.press("Space")
        assert page.becomes(before), "a box back again does not restore what was shown"


def press_and_type(page, number: str):
    """02's button by the space bar, 06's filter by a letter that no run has, and the letter taken away
    again."""
    if number == "02":
        again = page.page.get_by_role("button", name="Draw again")
        before = page.pictures()
        assert page.press(again, "Space", patience=20) is not None and page.pictures() != before
    if number == "06":
        word, before = page.page.locator(".widget-text:visible input[type=text]").first, page.shown()
        assert page.press(word, "~", patience=20) is not None, "the filter changes nothing"
        assert any(text.startswith("<p>0 of ") for text in page.shown())
        word.press("Backspace")
        assert page.becomes(before), "an empty filter does not restore the table"
