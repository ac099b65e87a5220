"""One JupyterLab and one Chromium for all browser tests, on a copy of the project with tiny finished runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lab_page import Page
from lab_server import LabServer, environment

ROOT = Path(__file__).resolve().parents[2]
# Enough for Tables 2 to 5 to have rows, pairs of folds, a control and two thresholds. 03 and 04 train their
# own runs in the browser.
RUNS = [("cnn14_10", 1), ("cnn14_10", 2), ("pann_10", 1), ("pann_10", 2), ("fixmatch_tau095", 1)]
RUNS += [("pann_control", 2), ("fixmatch_tau075", 2)]
TRAIN = """
import json, sys
from esc_suite.records import train
from esc_utils import config
for experiment, fold in json.loads(sys.argv[1]):
    train.run(config.for_run("tiny", experiment, train_fold=fold))
"""
said = []  # lines for the end of the session


def pytest_terminal_summary(terminalreporter):
    for line in said:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def report():
    """Call it with a line to be printed at the end."""
    return said.append


@pytest.fixture(scope="session")
def chromium():
    names = (
        [os.environ["CHROMIUM"]]
        if os.environ.get("CHROMIUM")
        else ["chromium", "chromium-browser", "google-chrome"]
    )
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.fail(
            f"no {' or '.join(names)} on PATH: `make test-browser` says how to install it", pytrace=False
        )
    return found


@pytest.fixture(scope="session")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to start as root with it
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=sandbox)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def project(tmp_path_factory, home):
    """A copy of the project with a profile `tiny`, its notebooks set to it and to `interactive`, and finished
    runs."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("esc_utils", "esc_suite", "notebooks", "params"):
        shutil.copytree(
            ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        )
    layers = [ROOT / "params" / "profiles" / "quick.yaml", ROOT / "tests" / "tiny.yaml"]
    tiny = {key: value for layer in layers for key, value in yaml.safe_load(layer.read_text()).items()}
    (copy / "params" / "profiles" / "tiny.yaml").write_text(yaml.safe_dump(tiny | {"profile": "tiny"}))
    for path in copy.glob("notebooks/*.ipynb"):
        text = path.read_text(encoding="utf-8").replace('profile = \\"quick\\"', 'profile = \\"tiny\\"')
        path.write_text(text.replace("interactive = False", "interactive = True"), encoding="utf-8")
    run(home, copy, "-c", TRAIN, json.dumps(RUNS))
    return copy


@pytest.fixture(scope="session")
def lab(browser, project, home):
    with LabServer(project, home) as server:
        yield server


@pytest.fixture
def page(browser, request):
    """A fresh page; where BROWSER_SHOTS names a folder, a picture of its end stays there."""
    opened = Page(browser)
    yield opened
    if folder := os.environ.get("BROWSER_SHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        name = "".join(c if c.isalnum() else "-" for c in request.node.name)
        opened.page.screenshot(path=Path(folder) / f"{name}.png")
    opened.context.close()


def run(home, project, *words):
    """Python with these words, in the copied project."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env=environment(home, project),
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
