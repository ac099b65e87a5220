"""What is committed of a profile: collected clean and small, shown as it is, and compared to the last
digit."""

import base64
import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from made_up import change, rendered
from records import PNG

from esc_suite.run import needed_runs
from esc_utils.errors import UserError

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import evidence  # noqa: E402
import evidence_pages as pages  # noqa: E402
from evidence_claims import VERDICTS  # noqa: E402

# Evidence of profiles; outputs/evidence/pairs holds rows that no table reports (test_pairs.py).
BLOCKS = {
    "README.md": ["picture", "results", "gallery"], "README.zh-TW.md": ["gallery"],
    "docs/findings.md": ["quick", "lite", "table5", "beyond"],
}  # fmt: skip
COMMITTED = sorted(path.parent.name for path in pages.EVIDENCE.glob("*/claims.json"))


# ---- Collecting ----------------------------------------------------------------------------------
def test_collected_are_tables_claims_figures_notebooks_and_of_runs_scores_and_history(
    collected, made_outputs
):
    files = {path.relative_to(collected).as_posix() for path in collected.rglob("*") if path.is_file()}
    assert {"claims.json", "machine.json", *(f"table{number}.csv" for number in range(2, 8))} < files
    assert {
        "figures/tau075_confidence_mask.png",
        "figures/tau095_pseudo_labels.json",
        "figures/mean_roc.png",
    } < files
    books = {path.stem for path in (ROOT / "notebooks").glob("0*.ipynb")}
    assert {name for name in files if name.startswith("notebooks/")} == {
        f"notebooks/{name}.ipynb" for name in books
    }
    assert {name for name in files if name.startswith("gallery/")} == {
        f"gallery/{name}.png" for name in books
    }
    runs = {name for name in files if name.startswith("runs/")}
    assert {Path(name).name for name in runs} == {"metrics.json", "history.csv", "predictions.npz"}
    assert len(runs) == 3 * len(list((made_outputs / "lite" / "runs").glob("*/*"))) == 3 * 41
    for name in ("table2.csv", "claims.json"):
        assert (collected / name).read_text() == (made_outputs / "lite" / "tables" / name).read_text()


def test_no_place_of_the_machine_is_left(collected):
    texts = {
        path: path.read_text() for path in collected.rglob("*") if path.suffix in (".json", ".csv", ".ipynb")
    }
    assert not [
        path for path, text in texts.items() if "/tmp" in text or "my sounds" in text or str(ROOT) in text
    ]
    metrics = json.loads((collected / "runs/pann_10/fold2_seed0/metrics.json").read_text())
    assert (metrics["config"]["data_dir"], metrics["config"]["outputs"]) == ("DATA", "outputs")
    book = json.loads((collected / "notebooks/04_fixmatch_ablations.ipynb").read_text())
    assert book["metadata"] == {"papermill": {"parameters": {"data_dir": "DATA"}}}
    assert all(cell["metadata"] == {"tags": ["x"]} for cell in book["cells"])
    assert book["cells"][1]["outputs"][1]["text"] == ["640 clips/s from DATA/audio in ./outputs\n"]
    links = re.findall(r"\]\(([^)#]*)", "".join(book["cells"][0]["source"]))
    assert len(links) == 2 and all(
        (ROOT / "outputs/evidence/lite/notebooks" / link).resolve().is_file() for link in links
    )


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("saw /home/me/x", True), ('{"a": "/x/y"}', True), ("(/data/us8k)", True), ("file:///tmp/x", True),
        ("640 clips/s, train/run, ../data/x, "
         "~/data", False), ("</data>", False), ("https://zenodo.org/record/1", False),
        ('"/kaggle/input"', False),
        ('<audio controls src="x">', True), ('{"audio/wav": ""}', True),
    ],
)  # fmt: skip
def test_what_evidence_must_not_hold(tmp_path, text, bad):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert bool(evidence.complaints(path)) == bad


def test_only_known_kinds_of_files_and_no_words_in_pictures(tmp_path):
    (tmp_path / "clip.wav").write_bytes(b"RIFF")
    assert "no evidence" in evidence.complaints(tmp_path / "clip.wav")[0]
    comment = b"Comment\0made in /home/me/x"
    (tmp_path / "a.png").write_bytes(
        PNG[:33] + len(comment).to_bytes(4) + b"tEXt" + comment + bytes(4) + PNG[33:]
    )
    assert "/home/me/x" in evidence.complaints(tmp_path / "a.png")[0]
    (tmp_path / "b.png").write_bytes(PNG)
    assert not evidence.complaints(tmp_path / "b.png")


@pytest.mark.parametrize("spoiled", ["large", "place", "figure", "claims"])
def test_refused_in_one_line_and_what_was_there_stays(
    made_outputs, collected, tmp_path, monkeypatch, spoiled
):
    before = {path: path.read_bytes() for path in collected.rglob("*") if path.is_file()}
    figure = made_outputs / "lite" / "figures" / "claims.json"
    kept = {path: path.read_text() for path in (figure, made_outputs / "lite" / "tables" / "claims.json")}
    if spoiled == "large":
        monkeypatch.setattr(evidence, "MOST_BYTES", 1000)
    elif spoiled == "place":
        figure.write_text(json.dumps({"alt": "of /mnt/elsewhere/x", "caption": ""}))
    else:
        (figure if spoiled == "figure" else list(kept)[1]).unlink()
    expected = {
        "large": r"MB, the most is 0 MB",
        "place": "figures/claims.json: names a place.*/mnt/elsewhere/x",
    }
    with pytest.raises(
        UserError, match=expected.get(spoiled, "claims.json is missing: run `make tables PROFILE=lite`")
    ) as error:
        evidence.collect("lite", made_outputs, collected)
    for path, text in kept.items():
        path.write_text(text)
    assert "\n" not in str(error.value)
    assert before == {path: path.read_bytes() for path in collected.rglob("*") if path.is_file()}
    assert [path.name for path in collected.parent.iterdir()] == ["lite"]


def test_of_a_profile_that_is_not_finished_what_is_there_is_collected_and_shown(made_outputs, collected):
    figure, book = (made_outputs / "lite" / name for name in ("figures/tables_forest.png", "notebooks"))
    kept = figure.read_bytes()
    figure.unlink()
    book.rename(book.with_name("away"))
    try:
        with pytest.raises(UserError, match=r"is missing: run `make tables PROFILE=lite` first"):
            evidence.collect("lite", made_outputs, collected)
        evidence.collect("lite", made_outputs, collected, partial=True)
    finally:
        figure.write_bytes(kept)
        book.with_name("away").rename(book)
    assert not (collected / "figures" / "tables_forest.png").exists()
    assert {path.stem[:2] for path in (collected / "notebooks").iterdir()} == {"03", "04"}
    page = pages.page("lite")
    assert "Rendered notebooks: [03]" in page and "tables_forest" not in page and "mean_roc.png" in page


def test_predictions_that_name_a_place_are_refused(tmp_path):
    path = tmp_path / evidence.PREDICTIONS
    for name, bad in (("fold1/a.wav", False), ("/home/me/fold1/a.wav", True)):
        np.savez(path, valid_file=np.array([name]), valid_prob=np.zeros((1, 10)))
        assert bool(evidence.complaints(path)) == bad


# ---- Pages ---------------------------------------------------------------------------------------
def test_pages_never_show_another_network_as_pann(collected):
    for text in ("\n".join(pages.results()), pages.page("lite")):
        labels = [
            re.sub(r" <sup>.*?</sup>", "", line.split(" | ")[0])
            for line in text.splitlines()
            if re.match(r"\| [^`(]", line)
        ]
        assert not [label for label in labels if "PANN" in label and "(" not in label[:4]]
        assert "| mn04 \u2020" in text and "| CNN14 \u2021" in text  # Table 2
        assert (
            "\u2020 EfficientAT mn04 (AudioSet) in place of PANN" in text
            and "CNN14 of width 8, not 64" in text
        )
        assert "2,985 of UrbanSound8K's 8,732 clips" in text and "387 of 925 of fold 3" in text


def test_readme_has_table_2_and_the_page_has_everything(collected):
    block, page = "\n".join(pages.results()), pages.page("lite")
    assert [f"Table {n}." in page for n in (2, 3, 4, 5)] == [True] * 4
    assert "Table 6." in page and "Table 7." in page and "table6.csv" in page
    assert (
        "*Caption of pann_table2/fold1_seed0/learning_curves Network: EfficientAT mn04 (AudioSet), in place "
        "of PANN.*" in page
    )
    assert "docs/results-lite.md" in block and "make reproduce PROFILE=lite" in page
    for text in (block, page):
        header = "| Row | Paper | Ours | To the baseline | To the control | Mark |"
        assert text.count(header) == (1 if text is block else 4)
    with (collected / "table4.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        own = (
            f"{float(row['accuracy']):.1f} [{float(row['accuracy_low']):.1f}, "
            f"{float(row['accuracy_high']):.1f}]<br>AUC "
        )
        assert f"| {float(row['paper_accuracy']):.2f}<br>AUC {float(row['paper_auc']):.2f} | {own}" in page
    assert page.count("How to read the tables") == 1
    for claim in json.loads((collected / "claims.json").read_text()):
        assert f"({claim['id']}) {claim['claim']} | {VERDICTS[claim['verdict']]}" in page
        assert all(f"{rule['evidence']}\n" in page for rule in claim["rules"])
    assert "  - \\+ FixMatch [EfficientAT mn04" in page, "not a list in a list"
    assert "TSCNN-DS (Su et al. 2019)" in page and "TSCNN-DS" not in block
    for text, place in ((block, collected.parents[2]), (page, collected.parents[2] / "docs")):
        links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
        shown = [link for link in links if "evidence" in link]
        assert text is block or shown
        assert all((place / link).resolve().exists() for link in shown)
        assert all((ROOT / "docs" / link).is_file() for link in links if link in ("findings.md", "ledger.md"))


def test_the_gallery_leads_to_the_profile_nearest_to_the_paper(collected):
    (pages.EVIDENCE / "quick" / "notebooks").mkdir(parents=True)
    (pages.EVIDENCE / "quick" / "notebooks" / "01_data_exploration.ipynb").write_text("{}")
    lines = pages.gallery(chinese=False)
    assert (
        len(lines) == 4
        and "".join(lines).count("outputs/evidence/lite/notebooks/") == 16
        and "quick" not in "".join(lines)
    )
    (collected / "notebooks" / "01_data_exploration.ipynb").unlink()
    assert "(outputs/evidence/quick/notebooks/01_data_exploration.ipynb)" in pages.gallery(chinese=True)[0]


def test_pictures_of_a_rendered_notebook_are_small_and_sounds_are_left_out():
    import io

    from PIL import Image

    made = io.BytesIO()
    Image.effect_noise((1400, 900), 80).save(made, "png")
    book = json.loads(json.dumps(rendered("DATA")))
    outputs = book["cells"][1]["outputs"]
    outputs[0]["data"]["image/png"] = base64.b64encode(made.getvalue()).decode()
    outputs.append(
        {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<audio src='x'></audio>"}}
    )
    outputs[0]["metadata"] = {"image/png": {"alt": "words"}}
    found = json.loads(evidence.notebook(json.dumps(book), lambda text: text))["cells"][1]["outputs"]
    assert len(found) == 2 and found[0]["metadata"] == {"image/png": {"alt": "words"}}
    small = Image.open(io.BytesIO(base64.b64decode(found[0]["data"]["image/png"])))
    assert small.size == (evidence.WIDTH, 450) and len(small.getcolors()) <= 64


def test_what_differs_is_computed_from_the_records(collected):
    page = pages.page("lite")
    for line in (
        "| fold that trains, validated by fold | 1 by 2, 2 by 3, 10 by 1 | 1 by 2, 2 by 10, 10 by 1 | all |",
        "| seeds of a row | not said | 1 | all |",
    ):
        assert line in page
    for knob, paper, here, who in (
        ("mu", "7", "3", "all"), ("batch_size", "32", "16", "all"), ("width", "64", "8", "all"),
        ("backbone", "pann", "mn04", "all"),
        ("clip_seconds", "5.0", "4.0", "all"), ("schedule", "cosine_restarts", "half_cosine", "all"),
    ):  # fmt: skip
        assert re.search(rf"\| `{knob}`: [^\n]*\| {paper} \| {here} \| {who}[^|]*\|", page), knob
    assert "`tau`" not in page and "`seed`" not in page, "what is equal is not listed"
    change(
        collected / "runs/cnn14_10/fold2_seed0/metrics.json",
        lambda m: m["config"].update(learning_rate=0.001),
    )
    assert re.search(r"\| `learning_rate` \| 0.0005 \| 0.001 \| `cnn14_10` \|", pages.page("lite"))


def test_blocks_are_made_anew_and_the_rest_stays(collected):
    text = "a\n<!-- results -->\nold\n<!-- /results -->\nb\n<!-- picture -->\n<!-- /picture -->\nc"
    made = pages.insert(text)
    assert (
        made.startswith("a\n<!-- results -->\n**`lite`**")
        and "\nold\n" not in made
        and made.endswith("<!-- /picture -->\nc")
    )
    assert (
        "\nb\n<!-- picture -->\n![Alt of tables_forest](outputs/evidence/lite/figures/tables_forest.png)<br>"
        in made
    )
    assert pages.insert(made) == made
    for path in collected.rglob("*"):
        path.unlink() if path.is_file() else None
    collected.rename(collected.with_name("else"))
    assert pages.insert(text) == text.replace("old\n", ""), "without evidence the blocks are empty"


# ---- What is committed ---------------------------------------------------------------------------
@pytest.mark.parametrize("profile", COMMITTED)
def test_committed_evidence_is_small_and_names_no_place(profile):
    assert evidence.check(pages.EVIDENCE / profile) <= evidence.MOST_BYTES


def test_readme_and_pages_are_what_the_committed_files_give():
    remedy = "run `python tools/evidence.py --pages`"
    for name, chinese in pages.READMES.items():
        readme = (ROOT / name).read_text(encoding="utf-8")
        assert pages.insert(readme, chinese) == readme, remedy
        assert all(f"<!-- {block} -->" in readme for block in BLOCKS[name])
    assert {
        path: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("results-*.md")
    } == pages.pages(), remedy


@pytest.mark.parametrize("profile", COMMITTED)
def test_committed_tables_are_the_means_of_the_committed_records(profile):
    found = pages.read_records(profile)
    if not found:
        pytest.skip(f"no run records are committed for {profile}")
    ours = [n for n in pages.BEYOND if (pages.EVIDENCE / profile / f"table{n}.csv").is_file()]
    for number in (2, 3, 4, 5, *ours):
        folds = needed_runs.tables(beyond=True)[number]["folds"]
        for row in pages._rows(profile, number):
            own = [r for r in found if r["experiment"] == row["experiment"] and r["fold"] in folds]
            if not own:
                assert not row["accuracy"]
                continue
            for metric, key in (("accuracy", "accuracy"), ("auc", "auc_weighted")):
                there = [f for f in folds if any(r["fold"] == f for r in own)]
                by_fold = {
                    f: np.mean([r["validation"]["last"][key] for r in own if r["fold"] == f]) for f in there
                }
                # AUC of a table is computed from float32 scores summed by recording, of a record from the
                # scores.
                assert float(row[metric]) == pytest.approx(np.mean(list(by_fold.values())), abs=1e-3)
                assert row["fold_list"] == " ".join(map(str, by_fold))


def table_of_findings(block):
    """Cells of the first table of a block of docs/findings.md, its head first."""
    if "lite" not in COMMITTED:
        pytest.skip("no evidence of profile lite is committed")
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    lines = (
        re.search(rf"<!-- {block} -->\n(.*?)<!-- /{block} -->", text, re.S)[1].split("\n\n")[0].splitlines()
    )
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [cells[0], *cells[2:]]


def test_findings_about_real_clips_are_the_committed_records():
    """The table of lite in docs/findings.md, computed another way."""
    shown = table_of_findings("lite")[1:]
    wanted = evidence.of_tables((2, 3, 4))
    ran = [r for r in pages.read_records("lite") if r["fold"] == 1 and (r["experiment"], 1) in wanted]
    assert len(shown) == len(ran) >= 11
    scores = {score(r["validation"]): r for r in ran}
    for title, found, other, _, _, share in shown:
        record = scores[found]
        assert f"{record['transductive']['last']['accuracy']:.1f}" == other
        assert ("FixMatch, tau" in title) == bool(share) == (record["config"]["method"] == "fixmatch")
        assert not share or share == f"{100 * record['unlabelled_share']:.1f}%"


def test_findings_pair_by_pair_are_the_committed_records():
    (_, *pairs), *rows = table_of_findings("table5")
    ran = {(r["experiment"], r["fold"]): r["validation"] for r in pages.read_records("lite")}
    assert pairs == sorted(pairs, key=lambda pair: int(pair.split()[0])) and len(pairs) >= 2
    for title, *cells in rows:
        first, shown = next((int(p.split()[0]), cell) for p, cell in zip(pairs, cells, strict=True) if cell)
        same = [name for (name, fold), found in ran.items() if fold == first and score(found) == shown]
        assert len(same) == 1, title
        for pair, cell in zip(pairs, cells, strict=True):
            fold, valid = map(int, pair.split(" -> "))
            found = ran.get((same[0], fold))
            assert cell == ("" if found is None else score(found)) and (
                found is None or found["folds"] == [valid]
            )


def score(validation):
    last = validation["last"]
    return " / ".join(f"{last[k]:.1f}" for k in ("accuracy", "accuracy_by_recording", "auc_weighted"))


def test_findings_beyond_the_paper_name_every_row_that_ran():
    head, *rows = table_of_findings("beyond")
    records = pages.read_records("lite")
    for row in rows:
        cells = dict(zip(head, row, strict=True))
        paces = {f"{r['seconds'] / r['steps']:.1f}" for r in records if r["steps"]}
        assert cells["Seconds a step"] in paces
        assert any(score(r["validation"]) == cells["Accuracy / by recording / AUC"] for r in records) or (
            "," in cells["Folds"]
        )
        assert bool(cells["Lines"]) == any(word in cells["Row"] for word in ("Flex", "Free", "Soft", "Open"))
    names = {r["experiment"] for r in records if r["config"].get("threshold", "fixed") != "fixed"}
    assert len([cells for cells in rows if cells[1]]) >= len(names)
