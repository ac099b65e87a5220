"""The table of one's clips: the example, labels written back, the learning curve, the widget; and notebook
07's cells."""

import sys
from pathlib import Path
from types import SimpleNamespace

import clips as own
import numpy as np
import pandas as pd
import pytest

from esc_suite.label import clips
from esc_utils.errors import UserError

TABLE = 'path;Label;note\nb.wav;x;said "so"\na.wav;;keep me\n'


def test_labels_are_written_back_and_all_else_stays(tmp_path):
    table = tmp_path / "clips.csv"
    table.write_text(TABLE)
    clips.relabel(table, {"a.wav": "y", "b.wav": ""})
    found = pd.read_csv(table, sep=";", keep_default_na=False)
    assert found.values.tolist() == [["b.wav", "", 'said "so"'], ["a.wav", "y", "keep me"]]
    assert list(found) == ["path", "Label", "note"]
    with pytest.raises(UserError, match=r"no clip c\.wav"):
        clips.relabel(table, {"c.wav": "x", "a.wav": "z"})
    assert "z" not in table.read_text(), "nothing is half-written"
    with pytest.raises(UserError, match="cannot be read"):
        clips.relabel(tmp_path / "none.csv", {})


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_a_table_keeps_its_byte_order_mark_and_its_ends_of_lines(tmp_path, end, mark):
    table = tmp_path / "clips.csv"
    lines = [b"path,label,note", 'ä.wav,,"two\r\nlines"'.encode(), b"b.wav,y,", b""]
    table.write_bytes(mark + end.encode().join(lines))
    clips.relabel(table, {"ä.wav": "x"})
    lines[1] = 'ä.wav,x,"two\r\nlines"'.encode()
    assert table.read_bytes() == mark + end.encode().join(lines)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("path,label\nä.wav,\n".encode("latin-1"), "no CSV table in UTF-8"),
        (b"", "lacks a column"),
        (b"path\na\n", "lacks a"),
    ],
)
def test_a_table_that_cannot_be_labelled_is_one_line(tmp_path, content, error):
    table = tmp_path / "clips.csv"
    table.write_bytes(content)
    with pytest.raises(UserError, match=error) as found:
        clips.relabel(table, {"a": "x"})
    assert "\n" not in str(found.value) and table.read_bytes() == content


def test_the_example_has_twelve_labels_and_says_that_it_is_synthesised(tmp_path):
    table = clips.example(tmp_path / "label" / "example")
    found = pd.read_csv(table, keep_default_na=False)
    assert (
        (found["label"] != "").sum() == 12 and len(found) == 60 and set(found["truth"]) == set(clips.EXAMPLE)
    )
    assert all((table.parent / path).is_file() for path in found["path"])
    assert not any(Path(path).is_absolute() for path in found["path"])
    assert (table.parent / "DATASET.json").is_file()
    table.write_text("edited")
    assert clips.example(table.parent) == table and table.read_text() == "edited", "corrections are kept"


def test_the_learning_curve_rises_and_never_scores_what_it_learned_from():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 2, 5], 24)  # class ids need not be neighbours
    recordings = np.arange(72) // 2
    x = rng.normal(0, 1, (72, 20))
    x[np.arange(72), labels] += 2.5
    curve = clips.learning_curve(x, labels, recordings, c=0.1, draws=30)
    means = curve.groupby("labelled")["accuracy"].mean()
    assert list(means.index) == [1, 2, 4, 8, 11] and means.iloc[-1] > means.iloc[0] + 10
    nothing = clips.learning_curve(rng.normal(0, 1, (72, 20)), labels, recordings, c=1.0, draws=30)
    assert abs(nothing["accuracy"].mean() - 100 / 3) < 8, "no skill where there is nothing to learn"
    drawn = clips.curve_figure(curve, synthesised=True)
    assert (
        "synthesised audio" in drawn.get_suptitle() and drawn.axes[0].get_xlabel() == "labelled clips a class"
    )
    with pytest.raises(UserError, match="two recordings of every class"):
        clips.learning_curve(x[:24], labels[:24], np.zeros(24), c=1.0)


def test_the_learning_curve_of_recordings_that_hold_several_classes(monkeypatch):
    """No draw takes more clips of a class than it says, and one that leaves nothing to score on is left
    out."""
    rng, learned = np.random.default_rng(0), []
    real = clips.probe
    monkeypatch.setattr(
        clips, "probe", lambda x, labels, c: learned.append(np.bincount(labels)) or real(x, labels, c)
    )
    labels, recordings = np.tile([0, 1, 0, 1], 4), np.repeat(np.arange(4), 4)
    curve = clips.learning_curve(rng.normal(0, 1, (16, 5)), labels, recordings, c=1.0, draws=20)
    counts = curve.groupby("labelled").size()
    assert counts[1] == 20 and 0 < counts[3] < 20 and curve["accuracy"].between(0, 100).all()
    assert [list(found) for found in learned] == [[count, count] for count in curve["labelled"]]


def test_a_probe_gives_a_column_for_each_class_that_it_learned():
    x = np.random.default_rng(0).normal(0, 1, (6, 4))
    assert clips.probe(x, np.array([0, 5, 0, 5, 0, 5]), 1.0)(x).shape == (6, 2)
    with pytest.raises(UserError, match="clips of two classes"):
        clips.probe(x, np.full(6, 5), 1.0)


def test_the_widget_writes_what_is_kept(tmp_path):
    pytest.importorskip("ipywidgets")
    from esc_suite.explore.labels import label_editor

    names, table = ["long.wav", "long.wav", "a.wav", "b.wav"], tmp_path / "clips.csv"
    for number, name in enumerate(names):
        own.write(tmp_path / name, "siren", number)
    table.write_text("path,label\na.wav,\nb.wav,\n")
    rows = pd.DataFrame(
        {"file": names, "path": [str(tmp_path / name) for name in names], "start": 0.0, "duration": 1.0}
    )
    dataset = SimpleNamespace(clips=rows, classes=("cat", "dog"), synthesised=False)
    labels = pd.DataFrame({"path": names, "label": "dog", "confidence": [0.1, 0.2, 0.4, 0.6]})
    store = np.zeros((4, 100, 64), np.float16)
    widget = label_editor(table, dataset, store, labels)
    clip, kind, keep = widget.children[0].children
    assert [row for _, row in clip.options] == [2, 3], (
        "a label is for the beginning of a file: no window of a longer one"
    )
    assert kind.value == "dog" and widget.children[1].value.startswith(
        "2 windows of longer files are not offered"
    )
    assert label_editor(table, dataset, store, labels[:2]).value.startswith(
        "2 windows of longer files are not offered"
    )
    kind.value = "cat"
    keep.click()
    assert table.read_text() == "path,label\na.wav,cat\nb.wav,\n" and clip.value == 3
    assert "a.wav is cat" in widget.children[1].value


def test_speed_beside_audio_tagging(tmp_path, monkeypatch, capsys):
    """The script counts the same clips on both sides; a small stand-in takes the tagger's place."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tools" / "bench"))
    import labelling

    for number in range(3):
        own.write(tmp_path / f"{number}.wav", "siren", number, 0.7)
    tagger = SimpleNamespace(inference=lambda audio: (np.zeros((len(audio), 527)), None))
    monkeypatch.setattr(labelling, "audio_tagging", lambda folder: tagger)
    monkeypatch.setattr(
        labelling, "ours", lambda profile, seconds, real=labelling.ours: real("quick", seconds)
    )
    monkeypatch.setattr(sys, "argv", ["labelling.py", str(tmp_path), "--repeats", "1", "--seconds", "0.7"])
    labelling.main()
    assert "3 clips of 0.7 s" in (text := capsys.readouterr().out) and text.count("clips/s") == 4


def test_the_numbers_of_the_page_are_those_of_the_evidence():
    root = Path(__file__).parent.parent
    found = pd.read_csv(root / "outputs/evidence/pairs/self_training.csv", dtype={"recordings_a_class": str})
    keys = ["train", "validate", "recordings_a_class", "draw"]
    plain = found[found["tau"].isna()].set_index(keys)
    gain = found[found["tau"] == 0.9].set_index(keys)["accuracy"] - plain["accuracy"]
    page = (root / "docs" / "own-clips.md").read_text(encoding="utf-8")
    lines = page.partition("<!-- labels -->")[2].partition("<!-- /labels -->")[0].strip().splitlines()[2:]
    assert len(lines) == 5
    for line in lines:
        count, clips_a_class, accuracy, points = (cell.strip() for cell in line.strip("|").split("|"))
        own_rows = plain.xs(count, level="recordings_a_class")
        per_pair = own_rows.groupby(["train", "validate"])[["labelled_clips", "accuracy"]].mean().mean()
        assert float(clips_a_class) == round(per_pair["labelled_clips"] / 10)
        assert abs(float(accuracy) - per_pair["accuracy"]) < 0.051
        change = gain.xs(count, level="recordings_a_class").groupby(["train", "validate"]).mean().mean()
        assert abs(float(points) - change) < 0.051
