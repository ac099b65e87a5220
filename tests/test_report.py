"""The report: one offline page with everything on it, banners where they belong, readable in a real
browser."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import records
from records import PNG

from esc_suite.records import provenance
from esc_suite.results.spec import read_spec
from esc_suite.tables import render as tables_render
from esc_suite.tables import report
from esc_suite.tables import rows as tables
from esc_utils import config
from esc_utils.errors import UserError


def png(folder: Path, name: str, **about):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.png").write_bytes(PNG)
    if about:
        (folder / f"{name}.json").write_text(json.dumps(about))


@pytest.fixture
def outputs(tmp_path):
    """Two runs of the quick profile, a figure of the suite, one of a run and one without a description."""
    for experiment, accuracy in (("cnn14_table2", 40), ("fixmatch_tau095", 75)):
        records.write(tmp_path, experiment, accuracy, profile="quick", synthesised=True)
    root = tmp_path / "quick"
    made = {
        "commit": "abc",
        "dirty": False,
        "code_hash": provenance.code_hash(),
        "versions": {"torch": "2.11.0"},
    }
    png(
        root / "figures",
        "class_counts",
        alt="Clips by class & fold",
        caption="Counts <of> clips",
        command="papermill 01",
        provenance=made,
    )
    png(
        root / "figures" / "cnn14_table2" / "fold1_seed0",
        "learning",
        alt="Loss falls",
        caption="Learning curves",
    )
    png(root / "figures", "bare")
    (root / "notebooks").mkdir()
    (root / "notebooks" / "01_data_exploration.ipynb").write_text("{}")
    return tmp_path


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_everything_is_on_the_page_and_nothing_is_fetched(outputs):
    path = report.write(outputs, "quick")
    text = path.read_text()
    page = Page(text)
    words = " ".join(page.text)
    assert path == outputs / "quick" / "report" / "index.html"
    # The suite's figures are thumbnails that open the file beside the page, those of runs are links.
    assert {image["alt"] for image in page.all("img")} == {"Clips by class & fold", "bare"}
    assert all(image["src"].startswith("data:image/webp;base64,") for image in page.all("img"))
    links = {link["href"] for link in page.all("a")}
    assert {"../figures/class_counts.png", "../figures/cnn14_table2/fold1_seed0/learning.png"} < links
    assert "Counts <of> clips" in words and "papermill 01" in words
    for number in range(1, 6):
        assert f"Table {number}." in words
    # No pair of runs: no noise known
    assert "Of the paper itself: open" in words and "claims could be decided here" not in words
    assert "2 runs on synthesised audio" in words and "Of the paper's 12 claims these runs leave" in words
    assert (
        "TSCNN-DS (Su et al. 2019)" in words and "(a) At equal iterations PANN is far above CNN14." in words
    )
    assert "papermill notebooks/04_fixmatch_ablations.ipynb OUT.ipynb --engine esc" in words
    assert "-f params/experiments/fixmatch_tau095.yaml" in words and "-p train_fold 1" in words
    assert "da7a" in words and "torch 2.11.0" in words  # dataset fingerprint and versions of a run
    # No address but relative ones, and a policy that forbids the rest.
    assert not re.search(r"https?:|//[a-z]", text)
    assert "default-src 'none'" in text
    assert not page.all("script") and not page.all("link")[1:] and page.all("link")[0]["href"] == "data:,"
    for link in page.all("a"):
        if not link["href"].startswith("#"):
            assert (path.parent / link["href"]).is_file(), link
        else:
            assert any(attrs.get("id") == link["href"][1:] for _, attrs in page.tags), link
    assert page.all("html")[0]["lang"] == "en" and all(cell.get("scope") for cell in page.all("th"))


def test_each_note_stands_once_for_all_tables(outputs):
    narrow = "narrow CNN14 pretrained on synthesised audio"
    records.write(outputs, "pann_table2", 60, profile="quick", synthesised=True, backbone=narrow)
    text = report.write(outputs, "quick").read_text()
    page = Page(text)
    spec = read_spec()
    used = {n for name in tables.NAMES for part in (spec["tables"][name], *spec["tables"][name]["rows"])
            for n in part.get("footnotes", [])}  # fmt: skip
    assert len(used) > 20
    words = " ".join(page.text)
    for number in used:
        assert words.count(spec["ledger_notes"][number]) == 1, number
        assert text.count(f'id="note-{number}"') == 1 and f'href="#note-{number}"' in text
    assert (
        words.index("Table 5.")
        < words.index(spec["ledger_notes"][min(used)])
        < words.index("Claims of the paper", 500)
    )
    assert {"href": "#notes"} in page.all("a")
    # What audio it is stands over every table with numbers of it, and a stand-in carries its name.
    # Tables 1, 2 and 3
    assert words.count("Numbers from synthesised audio: they show that the suite works") == 3
    # Table 2
    assert "narrow CNN14 \u2020" in page.text and words.count(f"\u2020 {narrow} in place of PANN.") == 1
    assert "FixMatch" in words and words.count("How to read the tables") == 1
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_the_report_says_what_could_be_decided_and_what_is_blocked(tmp_path):
    for experiment, accuracy in (("cnn14_table2", 40), ("pann_table2", 60), ("pann_probe", 99)):
        records.write(tmp_path, experiment, accuracy)
    words = " ".join(" ".join(Page(report.write(tmp_path, "paper").read_text()).text).split())
    assert "0 of 12 claims could be decided here: the least detectable difference" in words
    assert (
        "– blocked (a) At equal" in words
        and "Of the paper itself: blocked" in words
        and "PANN is not trained out: 60.0%" in words
    )


def test_banners(outputs):
    text = report.write(outputs, "quick").read_text()
    assert "Synthesised audio." in text
    assert "Out of date." in text and "code has changed" in text  # the hand-made records come from other code
    for experiment in ("cnn14_table2", "fixmatch_tau095"):
        file = outputs / "quick/runs" / experiment / "fold1_seed0" / "metrics.json"
        record = json.loads(file.read_text())
        record["provenance"]["code_hash"] = provenance.code_hash()
        file.write_text(json.dumps(record))
    assert "Out of date." not in report.write(outputs, "quick").read_text()
    record["config"]["tau"], record["provenance"]["config_hash"] = 0.5, "another"
    file.write_text(json.dumps(record))
    figure = outputs / "quick/figures/class_counts.json"
    figure.write_text(json.dumps({"provenance": {"code_hash": "older"}}))
    text = report.write(outputs, "quick").read_text()
    assert "Parameters have changed since (tau 0.5 -&gt; 0.95): fixmatch_tau095, fold 1, seed 0" in text
    assert "figure class_counts" in text


def test_no_banner_of_synthesised_audio_over_real_numbers(tmp_path):
    records.write(tmp_path, "cnn14_table2", 40)
    assert "ynthesised" not in re.sub(
        r"<style>.*?</style>", "", report.write(tmp_path, "paper").read_text(), flags=re.S
    )


def test_stale_reasons(tmp_path):
    run = records.write(tmp_path, "fixmatch_tau095", 40)
    fresh = config.for_run("paper", "fixmatch_tau095", train_fold=1).hash
    assert report.stale_reasons(run, "c0de", fresh, "da7a") == []
    assert report.stale_reasons(run, "c0de", fresh) == []
    assert report.stale_reasons(run, "other", fresh) == ["the method's code has changed since"]
    assert report.stale_reasons(run, "c0de", "other") == ["parameters have changed since"]
    assert report.stale_reasons(run, "c0de", fresh, "other") == ["the dataset has changed since"]
    assert "no longer in params/" in report.stale_reasons(run, "c0de", None)[0]
    assert report.current_config(run).hash == fresh


def test_user_errors_are_one_line(outputs, tmp_path, capsys):
    with pytest.raises(SystemExit, match="1"):
        report.main(["--outputs", str(tmp_path / "nowhere"), "--profile", "quick"])
    (outputs / "quick/figures/bare.png").write_bytes(b"not a picture")
    with pytest.raises(SystemExit, match="1"):
        report.main(["--outputs", str(outputs), "--profile", "quick"])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "no finished run" in lines[0] and "bare.png is damaged" in lines[1]
    with pytest.raises(UserError, match="no profile"):
        report.write(outputs, "nonsense")


@pytest.mark.parametrize("stray", ["._{}", ".ipynb_checkpoints/{}", ".{}.icloud"])
def test_hidden_files_of_other_programs_are_no_figures(stray, outputs):
    before = report.write(outputs, "quick").read_text()
    kinds = [
        (path, path.name)
        for path in (outputs / "quick").rglob("*")
        if path.suffix in (".png", ".ipynb", ".json")
    ]
    for path, name in kinds:
        beside = path.parent / stray.format(name)
        beside.parent.mkdir(exist_ok=True)
        beside.write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        ")
    assert kinds and report.write(outputs, "quick").read_text() == before


def test_text_contrast():
    css = (Path(report.__file__).parent / "assets" / "style.css.j2").read_text()
    backgrounds = ["#fff", *re.findall(r"background: (#\w+)", css), *re.findall(r"--soft: (#\w+)", css)]
    inks = re.findall(r"(?<![-\w])color: (#\w+)", css) + re.findall(r"--(?:ink|muted|link): (#\w+)", css)
    assert len(inks) >= 6 and len(backgrounds) >= 4
    for ink in inks:
        for background in backgrounds:
            light, dark = sorted((luminance(ink), luminance(background)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, background)


def luminance(colour: str) -> float:
    """Relative luminance of a CSS colour, WCAG 2."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium on PATH: apt-get install chromium")
    return found


def test_the_page_opens_with_the_picture_and_the_outcome_and_stays_small(outputs):
    """A whole profile has a hundred runs with four figures each, and a dozen figures of the suite."""
    import numpy as np
    from PIL import Image

    # The worst to compress
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (1300, 1400, 3), np.uint8))
    figures = outputs / "quick" / "figures"
    for name in ("tables_forest", "claims", *(f"figure_{at}" for at in range(5))):
        noise.save(figures / f"{name}.png", compress_level=1)
    for fold in range(1, 11):
        records.write(outputs, "pann_10", 60, fold=fold, profile="quick", synthesised=True)
        for at in range(4):
            (figures / "pann_10" / f"fold{fold}_seed0").mkdir(parents=True, exist_ok=True)
            shutil.copy(figures / "claims.png", figures / "pann_10" / f"fold{fold}_seed0" / f"{at}.png")
    path = report.write(outputs, "quick")
    assert (
        path.stat().st_size < 3_000_000
        and sum(file.stat().st_size for file in figures.rglob("*.png")) > 100_000_000
    )
    text = path.read_text()
    order = ["../figures/tables_forest.png", 'class="outcome"', 'id="table1"', 'id="table5"', 'id="notes"',
             'id="claims"',
             'id="figures"', 'id="runs"', "../figures/pann_10/fold10_seed0/3.png"]  # fmt: skip
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)


def test_three_sentences_of_outcome(tmp_path):
    for fold in range(1, 11):
        for experiment, accuracy in (("pann_10", 70), ("pann_control", 72), ("fixmatch_tau075", 75)):
            records.write(tmp_path, experiment, accuracy + fold % 3, fold=fold)
    page = Page(report.write(tmp_path, "paper").read_text())
    words = " ".join(" ".join(page.text).split())
    assert "30 runs on UrbanSound8K." in words
    told = r"by ([+-][\d.]+) \[[\d., -]+\] points over 10 of 10 folds, where the paper prints \+2.39"
    found = re.search(told, words)
    assert found and 2 < float(found[1]) < 4
    assert re.search(
        r"12 claims these runs leave \d supported, \d contradicted, \d+ undecided, \d blocked", words
    )


@pytest.mark.browser
def test_no_table_is_cut(made_outputs, tmp_path):
    """Made-up outputs of all rows, some with a long network's name, several seeds, other steps, a reason for
    a block."""
    from playwright.sync_api import sync_playwright

    shutil.copytree(made_outputs / "lite" / "runs", tmp_path / "lite" / "runs")
    for seed in (0, 1):
        for experiment in ("pann_10", "fixmatch_tau095"):
            records.write(
                tmp_path, experiment, 50 + seed, seed=seed, profile="lite", backbone=records.MN04, steps=700
            )
    pages = [report.write(tmp_path, "lite"), *tables_render.write(tmp_path, "lite", with_claims=False)]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for width in (1280, 390):
            page = browser.new_page(viewport={"width": width, "height": 900})
            for path in (path for path in pages if path.suffix == ".html"):
                page.goto(path.as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") == width, path
                # No part of a page needs scrolling sideways either, and no cell is wider than the screen.
                wide = page.evaluate(
                    "[...document.querySelectorAll('table, tr, td, th, pre, img, summary')].filter("
                    "e => e.getBoundingClientRect().right > innerWidth + 1 || (e.scrollWidth > e.clientWidth "
                    "+ 1 &&"
                    " getComputedStyle(e).overflowX !== 'visible' && e.clientWidth > 1)).map(e => "
                    "e.outerHTML.slice(0, 200))"
                )
                assert wide == [], (path, width)
                most = page.evaluate(
                    "Math.max(...[...document.querySelectorAll('thead')].map(t => t.rows[0].cells.length))"
                )
                assert most == 6, path
        browser.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_real_browser(outputs, width):
    from playwright.sync_api import sync_playwright

    path = report.write(outputs, "quick")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert said == [] and [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        # Nothing but links and folds is reached by the keyboard, in order, and each is seen when it is.
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.tagName") in ("A", "SUMMARY")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        # On a narrow screen a row of a table is a card, in which each cell stands beside its column's name.
        shown = page.evaluate(
            "getComputedStyle(document.querySelector('.scores td:not(.none)'), '::before').content"
        )
        assert shown == ('"Paper, width x stripes"' if width < 700 else "none")
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        browser.close()
