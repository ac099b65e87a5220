"""A browser page that writes down all that goes wrong, with the few steps of a reader: open, Run All, move a
slider."""

import base64
import contextlib
import io
import re
import time

WAIT_S = 240  # for one notebook that trains, on a busy machine

# A traceback, a Python warning and JupyterLab's own error are all rendered as stderr.
ERRORS = (
    '.jp-Notebook [data-mime-type="application/vnd.jupyter.stderr"], '
    '.jp-Notebook [data-mime-type="application/vnd.jupyter.error"], .jp-Notebook '
    ".jupyter-widgets-error-widget"
)
# Not those of cells that are folded away
PROMPTS = ".jp-Notebook .jp-CodeCell .jp-InputArea > .jp-InputPrompt"
FOLDED = ".jp-Notebook .jp-CodeCell .jp-InputPlaceholder"
# what the explorers draw and say
SHOWN = ".jp-CodeCell:has(.widget-slider, .widget-dropdown) .widget-html-content"
CONNECTED = """() => {
    const kernel = window.jupyterapp?.shell?.currentWidget?.context?.sessionContext?.session?.kernel;
    return kernel?.status === 'idle' && kernel?.connectionStatus === 'connected'; }"""
# Done: the first code cell has a number, none waits, and the indicator, unlike the kernel's status, idles
# between no cells.
DONE = f"""() => {{
    const prompts = [...document.querySelectorAll('{PROMPTS}')].map(e => e.textContent);
    return /\\d/.test(prompts[0]) && !prompts.some(text => text.includes('*'))
        && document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'; }}"""
# From the first key to the first change of what is shown, in ms of the browser's clock.
CLOCK = """shown => {
    const clock = window.escClock = {};
    document.addEventListener(
      'keydown', () => { clock.key ??= performance.now(); }, {capture: true, once: true});
    const watch = new MutationObserver(() => { clock.shown ??= performance.now(); });
    for (const element of document.querySelectorAll(shown))
        watch.observe(element, {subtree: true, childList: true, attributes: true}); }"""


class Page:
    """Wraps a Playwright page in a context of its own; `problems` are console errors, failed or off-machine
    requests."""

    def __init__(self, browser):
        self.problems = []
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.context.route(re.compile(r"^(?!http://127\.0\.0\.1[:/])(https?|wss?)://"), self._off_machine)
        self.context.set_default_timeout(1000 * WAIT_S)
        self.page = self.context.new_page()
        self.page.on(
            "console", lambda said: said.type == "error" and self.problems.append(f"console: {said.text}")
        )
        self.page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        self.page.on(
            "response", lambda r: r.status >= 400 and self.problems.append(f"HTTP {r.status}: {r.url}")
        )

    def _off_machine(self, route):
        self.problems.append(f"request off this machine: {route.request.url}")
        route.abort()

    def open(self, lab, path: str):
        """Open a notebook as a link to it does, and wait until its kernel is connected."""
        self.page.goto(f"{lab.url}/lab/tree/{path}?reset&token={lab.token}")
        self.page.wait_for_function(CONNECTED)

    def run_all(self):
        """Run > Run All Cells, by the menu, until the last cell is done or one has failed."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
        self.page.wait_for_function(DONE)

    def errors(self) -> list[str]:
        return self.page.locator(ERRORS).evaluate_all("all => all.map(e => e.textContent.slice(0, 2000))")

    def not_run(self) -> list[str]:
        return [text for text in self.page.locator(PROMPTS).all_text_contents() if not re.search(r"\d", text)]

    def assert_clean(self):
        assert self.errors() == [], "error output in the notebook"
        assert self.not_run() == [], "cells that were not run"
        assert self.problems == [], "problems in the browser"

    def sliders(self) -> list[str]:
        """Descriptions of all sliders, which are their labels."""
        return self.page.locator(".widget-slider > .widget-label").all_text_contents()

    def slider(self, label: str):
        return self._slider(label).get_by_role("slider")

    def readout(self, label: str) -> str:
        """The number beside a slider; its aria-valuenow has one decimal only."""
        return self._slider(label).locator(".widget-readout").text_content()

    def _slider(self, label: str):
        return self.page.locator(f'.widget-slider:has(> .widget-label:text-is("{label}"))')

    def pictures(self) -> list[bytes]:
        """Every image that the explorer shows, as bytes."""
        return [
            data_url(source)
            for source in self.page.locator(f"{SHOWN} img").evaluate_all("all => all.map(e => e.src)")
        ]

    def shown(self) -> list[str]:
        """All that the explorer draws and says, as HTML."""
        return self.page.locator(SHOWN).evaluate_all("all => all.map(e => e.innerHTML)")

    def settle(self):
        """Until the kernel has nothing to do and what is shown stays."""
        before = None
        while before != (now := self.shown()):
            before = now
            self.page.wait_for_timeout(150)
            self.page.wait_for_function(CONNECTED)

    def press(self, control, key: str, patience: float = 3) -> float | None:
        """Press a key on a control and wait for the redraw: seconds to the first change of what is shown,
        None where nothing has changed after `patience` seconds."""
        from playwright.sync_api import TimeoutError

        self.page.evaluate(CLOCK, SHOWN)
        control.press(key)
        with contextlib.suppress(TimeoutError):
            self.page.wait_for_function("window.escClock.shown", timeout=1000 * patience)
        self.settle()
        clock = self.page.evaluate("window.escClock")
        return (clock["shown"] - clock["key"]) / 1000 if "shown" in clock else None

    def becomes(self, shown: list[str], patience: float = 20) -> bool:
        """Whether the explorer shows this within so many seconds."""
        end = time.monotonic() + patience
        while self.shown() != shown and time.monotonic() < end:
            self.page.wait_for_timeout(50)
        return self.shown() == shown


def data_url(source: str) -> bytes:
    assert source.startswith("data:image/png;base64,"), source[:40]
    return base64.b64decode(source.split(",", 1)[1])


def is_blank(png: bytes) -> bool:
    """One flat colour, or too small to be a figure."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"), float)
    return min(pixels.shape) < 100 or pixels.std() < 3
