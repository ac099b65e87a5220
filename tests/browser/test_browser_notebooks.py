"""Every notebook in JupyterLab: Run All, no error, nothing from off the machine; every slider moves the figure and back."""

from pathlib import Path

import pytest
from lab_page import is_blank

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
FIGURES = ".jp-OutputArea-output.jp-RenderedImage img"
SLIDERS = {"02": 8, "04": 2}  # and none elsewhere
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
        figures = page.page.locator(FIGURES)
        assert figures.count() >= 2
        assert all(figures.evaluate_all("all => all.map(e => e.complete && e.naturalWidth >= 200)"))
        number = name[:2]
        if number in EXPLORERS:
            assert page.page.locator(".jp-OutputArea-output .widget-dropdown, .widget-slider").count(), "no controls"
        assert len(page.sliders()) == SLIDERS.get(number, 0)
        for at, label in enumerate(page.sliders()):
            seconds = move_and_back(page, label)
            if at == 0:
                report(f"{number}: first widget response {seconds:.2f} s ({label})")
        choose_and_back(page)
        page.assert_clean()
    finally:
        page.page.wait_for_timeout(100)
        lab.end_sessions()


def move_and_back(page, label) -> float:
    """Arrow keys until the pictures change, then as many back; seconds to the first change of what is shown."""
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
    """Every menu that stands on its first choice, by keyboard: the last one changes what is shown, the first restores it."""
    for menu in page.page.locator(".widget-dropdown:visible select").all():
        if menu.locator("option").count() > 1 and menu.evaluate("e => e.selectedIndex") == 0:
            before = page.shown()
            assert page.press(menu, "End", patience=20) is not None, "a menu changes nothing"
            assert page.shown() != before
            menu.press("Home")
            assert page.becomes(before), "a menu back again does not restore what was shown"
