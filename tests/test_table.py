"""Any table of clips as a dataset: classes, folds and windows from the data, clear lines where something is
wrong."""

import csv
import os
import re
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import clips as own
import numpy as np
import pandas as pd
import pytest
import soundfile
from bad_input import refused

from esc_suite import notebook
from esc_suite.inputs import table
from esc_suite.label import infer
from esc_suite.records import train
from esc_utils import contents, features, urbansound
from esc_utils.errors import UserError

REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "us8k-real"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return own.table(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def knobs(tiny, tmp_path):
    """Factory of configs on a table: knobs(folder or CSV, experiment, ...)."""

    def make(data, experiment="pann_probe", **more):
        here = {"dataset": "table", "data_dir": str(data), "cache_dir": str(tmp_path / "cache")}
        return tiny(experiment, **here | {"labelled": "all_but_one", "clip_seconds": 1.0} | more)

    return make


def written(folder: Path, *lines: str) -> Path:
    """A clips.csv of these lines after the header, with short WAV files for all names that stand in it."""
    for line in lines:
        name = line.split(",")[0].strip()
        if name and not (folder / name).exists():
            own.write(folder / name, "siren", zlib.crc32(name.encode()), 0.7)
    path = folder / "clips.csv"
    path.write_text("\n".join(["path,label,recording,fold", *lines]) + "\n")
    return path


def test_classes_folds_and_formats_come_from_the_table(clips, knobs):
    dataset = urbansound.open_dataset(knobs(clips))
    assert dataset.classes == tuple(sorted(own.NAMES)) and not dataset.synthesised and not dataset.missing
    rows = dataset.clips
    assert (
        len(rows) == 15 and (rows["class_id"] == -1).sum() == 6 and rows["duration"].between(0.99, 1.1).all()
    )
    known = rows[rows["class_id"] >= 0]
    assert (rows["fold"] == 0).sum() == 6 and set(known["fold"]) == {1, 2, 3}
    assert all(set(part["class_name"]) == set(own.NAMES) for _, part in known.groupby("fold"))
    store = features.open_store(knobs(clips), dataset)
    assert store.shape[0] == 15 and np.isfinite(store).all()


def test_the_method_alone_says_who_reads_a_table(clips, knobs, monkeypatch):
    monkeypatch.delitem(urbansound.READERS, "table")
    with pytest.raises(UserError, match="no reader: import"):
        urbansound.open_dataset(knobs(clips))


def test_folds_are_the_same_again_and_written_beside_the_outputs(clips, knobs, tmp_path):
    first, again = (urbansound.open_dataset(knobs(clips)).clips["fold"] for _ in range(2))
    assert first.equals(again)
    (file,) = tmp_path.glob("quick/folds-*.csv")
    found = pd.read_csv(file)
    assert len(found) == 9 and list(found) == ["path", "label", "recording", "fold"]


@pytest.mark.parametrize(("folds", "alone"), [("1112", "x"), ("1222", "y"), ("1111", "x"), ("3377", "x")])
def test_a_class_that_lies_in_one_of_the_given_folds_alone_is_refused(folds, alone, tmp_path, knobs):
    names = ["x0", "x1", "y0", "y1"]
    lines = [f"{name}.wav,{name[0]},,{fold}" for name, fold in zip(names, folds, strict=True)]
    with pytest.raises(UserError, match=f"all clips of class '{alone}' in .* lie in one fold.*two folds"):
        urbansound.open_dataset(knobs(written(tmp_path, *lines)))


@pytest.mark.parametrize("folds", [("", ""), (1, 2)])
@pytest.mark.parametrize("own", ["2", "none", "2.5", "-1"])
def test_the_fold_of_a_clip_without_a_label_says_nothing(tmp_path, knobs, folds, own):
    good = [f"{label}{n}.wav,{label},,{folds[n]}" for label in "xy" for n in range(2)]
    rows = urbansound.open_dataset(knobs(written(tmp_path, *good, f"u.wav,,,{own}"))).clips.set_index("file")
    assert rows["fold"]["u.wav"] == 0 and set(rows["fold"].drop("u.wav")) == {1, 2}


def test_recordings_are_never_split(tmp_path, knobs):
    lines = [f"{label}{n}.wav,{label},r{label}{n // 3}," for label in "ab" for n in range(9)]
    dataset = urbansound.open_dataset(knobs(written(tmp_path, *lines)))
    assert (dataset.clips.groupby("fsid")["fold"].nunique() == 1).all() and dataset.clips[
        "fsid"
    ].nunique() == 6
    assert set(dataset.clips["fold"]) == {1, 2, 3}


def copied(folder: Path, *lines: str, **copies: str) -> Path:
    """`written`, with files whose content is that of another."""
    data = written(folder, *lines)
    for target, source in copies.items():
        (folder / f"{target}.wav").write_bytes((folder / f"{source}.wav").read_bytes())
    return data


def test_equal_content_is_one_recording_whatever_its_name(tmp_path, knobs):
    """Also by way of a third: b is a copy of a, and c of b's recording."""
    lines = [
        "a.wav,x,r1,",
        "./a.wav,x,,",
        "b.wav,x,r2,",
        "c.wav,x,r2,",
        "d.wav,x,,",
        "e.wav,y,,",
        "f.wav,y,,",
        "u.wav,,,",
    ]
    rows = urbansound.open_dataset(knobs(copied(tmp_path, *lines, b="a", u="c"))).clips.set_index("file")
    assert (
        rows.loc[["a.wav", "./a.wav", "b.wav", "c.wav", "u.wav"], "fsid"].nunique() == 1
        and rows["fsid"].nunique() == 4
    )
    assert rows.loc[["a.wav", "./a.wav", "b.wav", "c.wav"], "fold"].nunique() == 1


def test_copies_alone_are_no_second_recording_and_lie_in_one_fold(tmp_path, knobs):
    lines = ["a.wav,x,,{}", "b.wav,x,,{}", "c.wav,y,,{}", "d.wav,y,,{}"]
    with pytest.raises(UserError, match="class 'x' has clips of one recording only"):
        urbansound.open_dataset(knobs(copied(tmp_path, *[line.format("") for line in lines], b="a")))
    with pytest.raises(UserError, match=r"copies of a\.wav in .* lie in two folds"):
        urbansound.open_dataset(
            knobs(copied(tmp_path, *[line.format(1 + n % 2) for n, line in enumerate(lines)], b="a"))
        )


@pytest.mark.parametrize("more", [False, True])
def test_every_class_lies_in_two_folds(more):
    """Recordings of several classes: each class has two, but no spread suits all three of them."""
    pairs = [("r1", "x"), ("r1", "y"), ("r2", "x"), ("r2", "z"), ("r3", "y"), ("r3", "z")] + [
        ("r4", c) for c in "xyz"
    ] * more
    about = pd.DataFrame(pairs, columns=["recording", "label"])
    about["path"] = about["digest"] = [str(n) for n in range(len(about))]
    if more:
        folds = table.assign_folds(about)
        assert (about.assign(fold=folds).groupby("label")["fold"].nunique() > 1).all()
        assert (about.assign(fold=folds).groupby("recording")["fold"].nunique() == 1).all()
        return
    with pytest.raises(UserError, match="comes into one fold only"):
        table.assign_folds(about)


def test_class_folders_are_a_table(tmp_path, knobs):
    names = (
        "cat/1.wav",
        "cat/2.wav",
        "dog/yard/1.wav",
        "dog/yard/2.wav",
        "dog/2.flac",
        "unlabelled/1.wav",
        "2.wav",
    )
    for number, name in enumerate(names):
        own.write(tmp_path / name, "siren", number)
    (tmp_path / "cat" / ".hidden.wav").write_bytes(b"")
    dataset = urbansound.open_dataset(knobs(tmp_path))
    assert dataset.classes == ("cat", "dog") and len(dataset.clips) == 7
    assert (dataset.clips["class_id"] == -1).sum() == 2
    yard = dataset.clips[dataset.clips["file"].str.contains("yard")]
    assert yard["fsid"].nunique() == 1 and dataset.clips["fsid"].nunique() == 6


def test_a_folder_of_one_name_is_one_recording_in_every_class(tmp_path, knobs):
    """Also in `unlabelled`, and whatever lies in folders below it."""
    names = [
        f"{label}/{day}/part{n}/1.wav"
        for label in ("cat", "dog")
        for day in ("monday", "tuesday")
        for n in (1, 2)
    ]
    for number, name in enumerate(
        [*names, "unlabelled/monday/1.wav", "unlabelled/friday/1.wav", "cat/monday.wav"]
    ):
        own.write(tmp_path / name, "siren", number, 0.7)
    dataset = urbansound.open_dataset(knobs(tmp_path))
    rows = dataset.clips
    assert rows["fsid"].nunique() == 4
    days = rows.groupby(rows["file"].str.extract(r"/(\w+)/", expand=False))
    assert set(days.groups) == {"monday", "tuesday", "friday"} and (days["fsid"].nunique() == 1).all()
    assert (rows[rows["fold"] > 0].groupby("fsid")["fold"].nunique() == 1).all()
    fold = int(rows.set_index("file")["fold"]["cat/monday/part1/1.wav"])
    heard = rows["file"].iloc[
        urbansound.split(knobs(tmp_path, train_fold=3 - fold, valid_fold=fold), dataset).unlabelled
    ]
    assert list(heard) == ["unlabelled/friday/1.wav"]


def test_excel_writes_semicolons_and_a_mark(tmp_path):
    own.write(tmp_path / "a.wav", "siren", 1)
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffPath; Label;note\r\na.wav; caf\u00e9 ;x\r\n\r\nb.wav;;\r\n".encode())
    found, root = table.read_table(str(path))
    assert found[["path", "label"]].values.tolist() == [["a.wav", "café"], ["b.wav", ""]] and root == tmp_path


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("a.wav,Tu\u0308r,,", "Tür"),  # as macOS writes it
        ("a.wav,Tür\u00a0,,", "Tür"),
        ("a.wav,01,,", "01"),
        ("a.wav,NA,,", "NA"),
        ("a.wav,{x} 🐶,,", "{x} 🐶"),
        ('a.wav,"x, ""y""",,', 'x, "y"'),
        ("a.wav,x,,,,", "x"),  # cells without a text
        ("a.wav,unlabelled,,", ""),  # as the folder of that name
        ("a.wav,Unlabeled,,", ""),
    ],
)
def test_a_label_is_what_was_written(line, found, tmp_path):
    path = written(tmp_path, line)
    assert table.read_table(str(path))[0]["label"].tolist() == [found]
    path.write_text(path.read_text().replace(",", "\t"))
    if '"' not in line:
        assert table.read_table(str(path))[0]["label"].tolist() == [found], "parted by tabs"


@pytest.mark.parametrize("folds", [("1.0", "2.0"), ("01", "02"), (" 1", "2.")])
def test_a_fold_is_a_number_however_a_program_writes_it(folds, tmp_path, knobs):
    lines = [f"{label}{n}.wav,{label},,{folds[n]}" for label in "xy" for n in range(2)]
    assert set(urbansound.open_dataset(knobs(written(tmp_path, *lines))).clips["fold"]) == {1, 2}


@pytest.mark.parametrize(
    ("names", "label"), [(["a/1.wav", "a/2\udcff.wav"], None), (["a\nb/1.wav"], None), (["a.wav"], "x\0y")]
)
def test_what_cannot_be_printed_is_refused_with_its_place(names, label, tmp_path):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    if label:
        (tmp_path / "clips.csv").write_text(f"path,label\n{names[-1]},{label}\n")
    refused(lambda: table.read_table(str(tmp_path)), str(tmp_path), "cannot be printed: rename it")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a.wav,x,,", "", "b.wav,dogs, big,r,1"], "line 4 has 5 cells, the first line 4: put"),
        (['a.wav,"x', "b.wav,y"], "unexpected end of data"),
        (["a.wav,x,,", "a.wav,y,,"], "line 3 (a.wav): the clip is listed twice"),
        ([",x,,"], "line 2 (): it names no file"),
        (["a.wav,x,,1", "b.wav,y,,eleven"], "line 3 (b.wav): fold is 'eleven'"),
        (["a.wav,x,,1", "b.wav,y,,"], "line 3 (b.wav): fold is ''"),
        (["a.wav,x,r,1", "", "b.wav,y,r,2"], "line 2 (a.wav): recording 'r' lies in two folds"),
        (["a.wav,x,,", "b.wav,x,,"], "1 classes in the table"),
        (["a.wav,x,,", "b.wav,x,,", "c.wav,y,,"], "class 'y' has clips of one recording only"),
        ([], "lists no clips"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path, knobs, lines, words):
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        urbansound.open_dataset(knobs(written(tmp_path, *lines)))
    assert "\n" not in str(caught.value) and ": " in str(caught.value)


@pytest.mark.parametrize("content", ["path\na.wav\n", "a,b\n1,2\n", "", "path,label,label\na.wav,x,y\n"])
def test_a_table_without_its_columns(tmp_path, content):
    path = tmp_path / "clips.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=r"clips.csv"):
        table.read_table(str(tmp_path))


def test_no_table(tmp_path, knobs):
    for data, words in (("", "given"), (tmp_path / "none.csv", "none.csv"), (tmp_path, "no clips.csv")):
        with pytest.raises(UserError, match=words):
            urbansound.open_dataset(knobs(data))


@pytest.mark.parametrize("name", ["none", "other/none.csv"])
def test_where_a_table_was_looked_for_is_said(name):
    refused(lambda: table.read_table(name), f"no table of clips {name} (", f"/{name} is not there)")


def broken(folder: Path) -> list[str]:
    """Files that cannot be used, one of each kind; their names."""
    whole = {suffix: folder / f"whole{suffix}" for suffix in own.FORMATS}
    for path in whole.values():
        own.write(path, "siren", 1, 2.0)
    (folder / "text.wav").write_text("no audio")
    (folder / "empty.mp3").write_bytes(b"")
    for suffix in (".wav", ".flac", ".mp3"):
        content = whole[suffix].read_bytes()
        (folder / f"cut{suffix}").write_bytes(content[: len(content) // 2])
    soundfile.write(folder / "nan.wav", np.full(8000, np.nan), 16000, "FLOAT")
    soundfile.write(folder / "none.wav", np.zeros(0), 16000)
    return ["text.wav", "empty.mp3", "cut.wav", "cut.flac", "cut.mp3", "nan.wav", "none.wav", "missing.wav"]


def test_a_bad_file_is_a_line_and_the_rest_goes_on_only_if_asked(tmp_path, knobs, capfd):
    names = broken(tmp_path)
    good = [f"g{n}.wav,{'xy'[n % 2]},," for n in range(4)]
    data = written(tmp_path, *good)
    data.write_text(
        "\n".join(["path,label", *(line.rstrip(",") for line in good), *(f"{name}," for name in names)])
        + "\n"
    )
    table._say.cache_clear()
    with pytest.raises(UserError, match="8 of 12 clips"):
        urbansound.open_dataset(knobs(data))
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("unusable: ")]
    assert len(lines) == 8 and all(
        sum(f"{tmp_path}/{name} " in line for line in lines) == 1 for name in names
    ), lines
    dataset = urbansound.open_dataset(knobs(data, allow_partial=True))
    assert len(dataset.clips) == 4 and dataset.missing == {0: 8}
    assert not [line for line in capfd.readouterr().err.splitlines() if line.startswith("unusable")], (
        "said once"
    )


def test_an_edited_file_counts_and_a_touch_does_not(tmp_path, knobs):
    data = written(tmp_path, *[f"g{n}.wav,{'xy'[n % 2]},," for n in range(6)])
    first = urbansound.open_dataset(knobs(data))
    (tmp_path / "g0.wav").touch()
    assert urbansound.open_dataset(knobs(data)).fingerprint == first.fingerprint
    content = bytearray((tmp_path / "g0.wav").read_bytes())
    content[-2] ^= 1
    (tmp_path / "g0.wav").write_bytes(content)
    edited = urbansound.open_dataset(knobs(data))
    assert edited.fingerprint != first.fingerprint and edited.audio != first.audio
    data.write_text(data.read_text().replace("g1.wav,y", "g1.wav,x"))
    relabelled = urbansound.open_dataset(knobs(data))
    assert relabelled.fingerprint != edited.fingerprint and relabelled.audio == edited.audio, (
        "log-mels are kept"
    )


def test_a_long_file_without_a_label_is_windows(tmp_path, knobs):
    own.write(tmp_path / "long.flac", "siren", 1, 70.0)
    data = written(tmp_path, *[f"g{n}.wav,{'xy'[n % 2]},," for n in range(4)], "long.flac,,,")
    config = knobs(data)
    dataset = urbansound.open_dataset(config)
    rows = dataset.clips[dataset.clips["file"] == "long.flac"]
    assert len(rows) == round(70 / config.clip_seconds) and rows["fsid"].nunique() == 1
    assert np.allclose(rows["start"], np.arange(len(rows)) * config.clip_seconds)
    store = features.open_store(config, dataset)
    whole = features.decode(tmp_path / "long.flac")
    at = rows.index[50]
    piece = whole[round(dataset.clips.start[at] * 16000) :][: round(config.clip_seconds * 16000)]
    levels = features.front_end("cnn14")(features.torch.from_numpy(piece[None]))[0, 0]
    inner = np.abs(levels.numpy()[3:-3] - store[at].astype(np.float32)[3:-3])
    assert np.median(inner) < 0.1, "the window holds the audio of its time"


def test_two_files_that_changed_places_are_noticed(tmp_path, knobs, monkeypatch):
    """Of equal length and with equal times, as `touch -r` leaves them: the time of the change tells them
    apart."""
    data = written(tmp_path, *[f"g{n}.wav,{'xy'[n % 2]},," for n in range(4)])
    one, other, spare = (tmp_path / name for name in ("g0.wav", "g1.wav", "spare"))
    for path in (one, other):
        os.utime(path, (1e9, 1e9))
    assert one.stat().st_size == other.stat().st_size
    monkeypatch.setattr(contents, "SETTLED", 0.05)
    time.sleep(0.1)
    before = urbansound.open_dataset(knobs(data))
    for source, target in ((one, spare), (other, one), (spare, other)):
        source.rename(target)
    after = urbansound.open_dataset(knobs(data))
    assert after.fingerprint != before.fingerprint and after.audio != before.audio


def test_only_answers_that_will_hold_are_kept(tmp_path, monkeypatch):
    """Neither those for a file that has just changed, nor a problem, which may have been one of the disk."""
    path, memory, read = tmp_path / "a.wav", tmp_path / "memory.json", []
    own.write(path, "siren", 1)

    def flaky(path, **more):
        read.append(path)
        if len(read) == 1:
            raise OSError(5, "Input/output error")
        return features.decode(path, **more)

    monkeypatch.setattr(table, "decode", flaky)
    monkeypatch.setattr(contents, "SETTLED", 3600.0)
    problems = [table.examine([path], memory)[0]["problem"] for _ in range(2)]
    assert problems[0] and not problems[1] and len(read) == 2, "what has just changed is read again"
    monkeypatch.setattr(contents, "SETTLED", 0.05)
    time.sleep(0.1)
    read.clear()
    problems = [table.examine([path], memory)[0]["problem"] for _ in range(3)]
    assert problems[0] and not any(problems[1:]) and len(read) == 2, (
        "a problem is forgotten, an answer is kept"
    )


def test_what_is_no_file_is_a_line(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    found = table.examine([tmp_path / "folder.wav", tmp_path / "pipe.wav"], tmp_path / "memory.json")
    assert [one["problem"] for one in found] == [
        f"{tmp_path / name}.wav is no file" for name in ("folder", "pipe")
    ]


def noise(path: Path, frames: int, rate: int = 16000, keep: float = 1.0) -> None:
    """A file of so many samples, of whose bytes the last are left out."""
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, frames), rate)
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * keep)])


@pytest.mark.parametrize("more", [1, 2, 3, 50])
def test_a_long_file_may_end_anywhere_after_a_piece(tmp_path, more):
    """At 44.1 kHz, one or two samples are less than one at 16 kHz."""
    noise(tmp_path / "a.wav", 60 * 44100 + more, 44100)
    (found,) = table.examine([tmp_path / "a.wav"], tmp_path / "memory.json")
    assert not found["problem"] and found["seconds"] == pytest.approx(60 + more / 44100)
    assert len(features.decode(tmp_path / "a.wav", start=60.0, seconds=60.0)) == round(more / 44100 * 16000)
    assert len(features.decode(tmp_path / "a.wav", start=61.0, seconds=60.0)) == 0


def test_an_mp3_that_is_a_little_shorter_than_it_says_is_windows_to_its_real_end(tmp_path, knobs, capfd):
    data = written(tmp_path, *[f"g{n}.wav,{'xy'[n % 2]},," for n in range(4)], "long.mp3,,,", "short.mp3,,,")
    for name, seconds in (("long", 62), ("short", 30)):
        noise(tmp_path / f"{name}.mp3", seconds * 16000, keep=0.96)
        assert soundfile.info(tmp_path / f"{name}.mp3").duration == seconds
    dataset = urbansound.open_dataset(knobs(data))
    store = features.open_store(knobs(data), dataset)
    for name, seconds in (("long", 62), ("short", 30)):
        rows = dataset.clips[dataset.clips["file"] == f"{name}.mp3"]
        assert 0.95 * seconds < rows["end"].max() < 0.97 * seconds, "its real end"
        assert (store[rows.index].astype(np.float32).max(axis=(1, 2)) > -60).all(), "no window is silent"
    networks = SimpleNamespace(
        config=knobs(data), classes=("x", "y"), scores=lambda audio: np.full((len(audio), 2), 0.5)
    )
    rows = list(infer.labelled_rows(networks, [tmp_path / "long.mp3"], 1.0, 1.0, False))
    assert len(rows) == (dataset.clips["file"] == "long.mp3").sum()


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".wav"])
def test_a_long_file_that_is_cut_in_the_middle_is_refused(tmp_path, knobs, suffix):
    noise(tmp_path / f"a{suffix}", 150 * 16000, keep=0.4)
    (found,) = table.examine([tmp_path / f"a{suffix}"], tmp_path / "memory.json")
    assert f"a{suffix} " in found["problem"]
    networks = SimpleNamespace(
        config=knobs(tmp_path), classes=("x", "y"), scores=lambda audio: np.full((len(audio), 2), 0.5)
    )
    with pytest.raises(UserError, match=f"a{suffix} "):
        list(infer.labelled_rows(networks, [tmp_path / f"a{suffix}"], 1.0, 1.0, False))


@pytest.mark.parametrize(("before", "after"), [("a", "b"), ("a", "ab")])
def test_a_label_that_changes_the_rows_makes_another_store(tmp_path, knobs, before, after):
    """A labelled file of three windows is one row, an unlabelled one three: the rows change, the audio does
    not."""
    for number, name in enumerate("ab"):
        own.write(tmp_path / f"{name}.wav", "siren", number, 3.0)
    good, stores = [f"g{n}.wav,{'xy'[n % 2]},," for n in range(4)], []
    for labelled in (before, after):
        data = written(tmp_path, *good, *[f"{name}.wav,{'x' if name in labelled else ''},," for name in "ab"])
        dataset = urbansound.open_dataset(knobs(data))
        store = np.array(features.open_store(knobs(data), dataset))
        features.store_path(knobs(data), dataset).unlink()
        assert np.array_equal(store, features.open_store(knobs(data), dataset)), "as built anew"
        assert len(store) == 4 + sum(1 if name in labelled else 3 for name in "ab")
        stores.append(features.store_path(knobs(data), dataset))
    assert stores[0] != stores[1]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.5, [(0, 0.5)]), (1.0, [(0, 1)]), (1.4, [(0, 1)]), (1.5, [(0, 1), (1, 1.5)]), (2.0, [(0, 1), (1, 2)])],
)
def test_windows(seconds, expected):
    assert table.windows(seconds, 1.0, 1.0) == expected


def test_a_run_learns_from_labels_and_from_clips_without(clips, knobs):
    for experiment in ("pann_probe", "fixmatch_tau075"):
        run = train.run(knobs(clips, experiment, steps=4), quiet=True)
        assert run.classes == tuple(sorted(own.NAMES)) and run.metrics["transductive"] is None
        assert list(run.metrics["validation"]["best"]["per_class"]) == list(run.classes)
        assert run.predictions["unlabelled_prob"].shape == (6, 3) and run.metrics["validation"]["clips"] == 3


@pytest.mark.parametrize(
    ("experiment", "words"),
    [
        ("fixmatch_tau075", "6 of 6 unlabelled clips of .* have no true label.*07_your_own_clips"),
        ("pann_10", "'pann_10' is another kind of run: open notebooks/03_supervised_pann_baseline"),
        ("flexmatch", "'flexmatch' is another kind of run: open notebooks/03_"),
    ],
)
def test_the_audit_of_notebook_04_says_what_it_cannot_show(clips, knobs, experiment, words):
    config = knobs(clips, experiment)
    with pytest.raises(UserError, match=words):
        notebook.auditable(config, urbansound.open_dataset(config))


def test_without_unlabelled_clips_fixmatch_says_so(tmp_path, knobs):
    data = written(tmp_path, *[f"g{n}.wav,{'xy'[n % 2]},," for n in range(4)])
    with pytest.raises(UserError, match="clips without a label"):
        train.run(knobs(data, "fixmatch_tau075"), quiet=True)


def test_what_shares_a_recording_with_a_validating_clip_is_not_trained_on(tmp_path, knobs):
    lines = [f"g{n}.wav,{'xy'[n % 2]},r{n}," for n in range(4)]
    dataset = urbansound.open_dataset(knobs(written(tmp_path, *lines, "u0.wav,,r0,", "u1.wav,,,")))
    fold = int(dataset.clips.set_index("file")["fold"]["g0.wav"])
    config = knobs(tmp_path, train_fold=3 - fold, valid_fold=fold)
    files = dataset.clips["file"].to_numpy()
    assert list(files[urbansound.split(config, dataset).unlabelled]) == ["u1.wav"]
    other = knobs(tmp_path, train_fold=fold, valid_fold=3 - fold)
    assert list(files[urbansound.split(other, dataset).unlabelled]) == ["u0.wav", "u1.wav"]


# ---- the real clips, read in both ways -----------------------------------------------------------
def as_table(source: Path, target: Path, classes, per_fold: int) -> tuple[Path, Path]:
    """Some clips of UrbanSound8K twice: in its own layout, and as FLAC copies in one folder with a table of
    other names."""
    index = pd.read_csv(source / "metadata" / "UrbanSound8K.csv")
    index = index[index["class"].isin(classes)]
    old, new, lines, kept = target / "old", target / "new", [], []
    (old / "metadata").mkdir(parents=True)
    new.mkdir()
    for (fold, _), part in index.groupby(["fold", "class"]):
        taken = 0
        for row in part.itertuples():
            path = source / "audio" / f"fold{fold}" / row.slice_file_name
            exact = path.is_file() and soundfile.info(path).subtype in ("PCM_16", "PCM_24")
            if not exact or taken == per_fold:
                continue
            taken += 1
            place = old / "audio" / f"fold{fold}" / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)
            audio, rate = soundfile.read(path, dtype="int32")
            soundfile.write(new / f"{path.stem}.flac", audio, rate, soundfile.info(path).subtype)
            lines.append([f"{path.stem}.flac", f"my {index['class'][row.Index]}", row.fsID, fold])
            kept.append(row.Index)
    index.loc[kept].to_csv(old / "metadata" / "UrbanSound8K.csv", index=False)
    with (new / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "recording", "fold"], *lines])
    return old, new


@pytest.mark.parametrize("classes", [4, 10])
def test_real_clips_score_the_same_read_either_way(real_clips, tmp_path, tiny, classes):
    names = urbansound.CLASSES[::3] if classes == 4 else urbansound.CLASSES
    old, new = as_table(real_clips, tmp_path, names, per_fold=4)
    common = {"outputs": "", "valid_fold": 2, "steps": 4, "allow_partial": True, "clip_seconds": 1.28}
    where = {"outputs": str(tmp_path / "out"), "cache_dir": str(tmp_path / "cache")}
    both = []
    for dataset, data in (("urbansound8k", old), ("table", new)):
        runs = []
        for experiment in ("pann_probe", "fixmatch_tau075"):
            config = tiny(experiment, **common | where | {"dataset": dataset, "data_dir": str(data)})
            found = urbansound.open_dataset(config)
            runs.append(train.run(config, quiet=True))
        both.append((found, np.array(features.open_store(config, found)), runs))
    (first, levels, before), (second, again, after) = both
    assert second.classes == tuple(f"my {name}" for name in names) and first.classes == urbansound.CLASSES
    assert np.array_equal(levels, again)
    for a, b in zip(before, after, strict=True):
        theirs, ours = a.metrics["validation"], b.metrics["validation"]
        assert theirs["clips"] == ours["clips"] > 10
        if classes == 10:
            assert np.array_equal(a.predictions["valid_prob"], b.predictions["valid_prob"])
            assert [theirs["last"][k] for k in ("accuracy", "auc_weighted")] == [
                ours["last"][k] for k in ("accuracy", "auc_weighted")
            ]
            assert (
                a.metrics["transductive"]["last"]["accuracy"] == b.metrics["transductive"]["last"]["accuracy"]
            )
    kept = [urbansound.CLASSES.index(name) for name in names]
    theirs = before[0].predictions["valid_prob"][:, kept]
    theirs = theirs / theirs.sum(axis=1, keepdims=True)
    assert np.allclose(theirs, after[0].predictions["valid_prob"], atol=1e-5), (
        "the probe's, among the four classes"
    )
    assert (
        before[0].metrics["validation"]["last"]["accuracy"]
        == after[0].metrics["validation"]["last"]["accuracy"]
    )
