"""Labels for one's own recordings: what is written, what is said, finished networks on new audio."""

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import clips as own
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from esc_suite.inputs import table
from esc_suite.label import command, infer, networks, validate
from esc_suite.records import runs
from esc_suite.results import intervals
from esc_utils.config import RunConfig
from esc_utils.errors import UserError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three labelled clips of each of three classes, six without a label, two broken files, a long one."""
    folder = own.table(tmp_path_factory.mktemp("label") / "my_clips")
    (folder / "broken.mp3").write_bytes(b"no audio")
    (folder / "empty.wav").write_bytes(b"")
    own.write(folder / "long.flac", "siren", 99, 65.0)
    with (folder / "clips.csv").open("a") as file:
        file.write("broken.mp3,\nempty.wav,\nlong.flac,\n")
    return folder


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def finished(data, outputs) -> Path:
    """All three methods, trained for a moment."""
    options = ["--skip-bad", "--steps", "3", "--seconds", "1.0", "--outputs", str(outputs)]
    assert command.main([str(data), *options]) == 0
    return outputs / "label" / "my_clips" / "quick"


def test_labels_for_every_clip_without_one_the_doubtful_first(finished):
    labels = pd.read_csv(finished / "labels.csv")
    assert list(labels) == [*infer.COLUMNS, "accepted"]
    assert len(labels) == 6 + 65 and (labels["path"] == "long.flac").sum() == 65
    assert (
        labels["confidence"].is_monotonic_increasing
        and (labels["confidence"] >= labels["second_confidence"]).all()
    )
    assert set(labels["label"]) <= set(own.NAMES) and (labels["label"] != labels["second"]).all()
    about = json.loads((finished / "label.json").read_text())
    assert ((labels["confidence"] >= about["tau"] + 1e-4) <= (labels["accepted"] == "yes")).all()
    assert about["trusted"] in validate.METHODS and len(about["sentences"]) == 3 == len(about["accuracy"])


def test_the_page_has_a_player_and_a_log_mel_for_each_clip_that_it_shows(finished):
    text = (finished / "labels.html").read_text()
    assert 3 <= text.count("<audio ") == text.count("<img ") <= 6 * len(own.NAMES)
    said = json.loads((finished / "label.json").read_text())["sentences"]
    assert all(sentence in html.unescape(text) for sentence in said)
    assert not re.findall(r"(?:src|href)=.http", text), "the page works offline"


def test_labelled_clips_of_any_length_that_are_cut_are_counted(tmp_path, capsys):
    folder = own.table(tmp_path / "long", unlabelled=1)
    own.write(folder / "two.wav", "siren", 98, 2.0)
    own.write(folder / "minute.flac", "siren", 99, 65.0)
    with (folder / "clips.csv").open("a") as file:
        file.write("two.wav,siren\nminute.flac,siren\n")
    common = command.settings(str(folder), "quick", str(tmp_path / "outputs"))
    config = command.configuration.for_run("quick", validate.PROBE, **common)
    command._opening(command.open_dataset(config), config)
    assert "2 labelled clips are longer than 1.28 s" in capsys.readouterr().out


def test_bad_files_are_lines_and_stop_what_was_not_told_to_go_on(data, outputs, capfd):
    table._say.cache_clear()
    with pytest.raises(SystemExit):
        command.main([str(data), "--fast", "--outputs", str(outputs)])
    said = capfd.readouterr().err.splitlines()
    assert sum("unusable" in line for line in said) == 2 and said[-1].startswith("error: 2 of 18 clips")


def test_the_same_command_again_trains_nothing(finished, data, outputs, monkeypatch):
    monkeypatch.setattr(validate.train, "set_up", None)
    options = ["--skip-bad", "--steps", "3", "--seconds", "1.0", "--outputs", str(outputs)]
    assert command.main([str(data), *options]) == 0


def test_weights_belong_to_the_record_beside_them(finished, data, tmp_path, monkeypatch):
    """A kill between the record and the weights leaves none, or some of another run: both are made again."""
    config = RunConfig(
        **json.loads((finished / "runs/pann_probe/fold1_seed0/metrics.json").read_text())["config"]
    )
    config = config.model_copy(update={"outputs": str(tmp_path)})
    weights = runs.folder(config) / networks.FILE
    validate.trained(config, quiet=True)
    whole, identity = load_file(weights), networks.identity_of(weights)
    with safe_open(weights, "pt") as file:
        header = file.metadata()
    save_file(load_file(weights), weights, header | {"identity": "another"})
    monkeypatch.setattr(networks, "write_atomic", stopped(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        validate.trained(config, quiet=True)
    assert not runs.complete(weights.parent)
    monkeypatch.undo()
    validate.trained(config, quiet=True)
    assert networks.identity_of(weights) == identity and identity
    assert all(torch.equal(value, whole[key]) for key, value in load_file(weights).items())


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (torch.AcceleratorError("device lost"), "device lost"),
        (RuntimeError("can't allocate memory: 9"), "memory: 9"),
    ],
)
def test_a_failing_device_is_one_line(finished, tmp_path, monkeypatch, error, line):
    config = RunConfig(
        **json.loads((finished / "runs/pann_probe/fold1_seed0/metrics.json").read_text())["config"]
    )
    monkeypatch.setattr(validate.train, "train", stopped(error))
    with pytest.raises(UserError, match=rf"failed: .*{line}\. If it lacked memory, give --seconds"):
        validate.trained(config.model_copy(update={"outputs": str(tmp_path)}), quiet=True)


def stopped(error: BaseException):
    def stop(*_):
        raise error

    return stop


def test_weights_label_again_what_labels_csv_says(finished, data, tmp_path):
    target = tmp_path / "new.csv"
    assert command.main([str(finished), str(data / "new"), str(data / "long.flac"), "--to", str(target)]) == 0
    again = pd.read_csv(target)
    labels = pd.read_csv(finished / "labels.csv")
    again["path"] = [str(Path(path).relative_to(data)) for path in again["path"]]
    both = labels.merge(again, on=["path", "start"], suffixes=("", "_again"))
    assert len(both) == len(labels) == len(again)
    assert (
        np.allclose(both["confidence"], both["confidence_again"], atol=2e-3)
        and (both["label"] == both["label_again"]).all()
    )


def test_only_the_networks_of_the_last_table_are_used(finished, tmp_path):
    """Networks of an earlier table, with more folds or other classes, lie in the same folder."""
    folder = tmp_path / "quick"
    shutil.copytree(finished, folder)
    about = json.loads((folder / "label.json").read_text())
    first, second = (folder / name for name in about["runs"][:2])
    shutil.copytree(first, first.with_name("fold9_seed0"))
    assert len(networks.read_networks(folder).models) == len(about["runs"]) == 3
    (second / networks.FILE).rename(tmp_path / "kept")
    with pytest.raises(UserError, match=f"no {networks.FILE} in {second}: "):
        networks.read_networks(folder)
    with safe_open(tmp_path / "kept", "pt") as file:
        header = file.metadata() | {"classes": json.dumps([*own.NAMES[:2], "other"])}
    save_file(load_file(tmp_path / "kept"), second / networks.FILE, header)
    with pytest.raises(UserError, match="differ in their classes"):
        networks.read_networks(folder)


def test_one_run_and_overlapping_windows(finished, data, capsys):
    run = finished / "runs" / validate.PROBE / "fold1_seed0"
    assert len(networks.read_networks(run).models) == 1
    assert networks.read_networks(run / networks.FILE).classes == tuple(sorted(own.NAMES))
    assert command.main([str(run), str(data / "long.flac"), "--hop", "10"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and "10.00-11.00 s" in lines[1]


def test_labelling_goes_on_where_it_was_cut_off(finished, data, tmp_path, monkeypatch):
    """By file: one that appears meanwhile and sorts first is labelled, and one that has changed is labelled
    again."""
    target, folder = tmp_path / "new.csv", tmp_path / "known"
    shutil.copytree(data / "known", folder)
    files = sorted(map(str, folder.iterdir()))
    monkeypatch.setattr(infer, "BATCH", 2)
    found = networks.read_networks(finished)
    real, calls = networks.Networks.scores, []

    def killed(self, audio):
        calls.append(len(audio))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, audio)

    monkeypatch.setattr(networks.Networks, "scores", killed)
    with pytest.raises(KeyboardInterrupt):
        infer.label(found, [str(folder)], 0, str(target), False)
    assert not target.exists()
    calls[:] = [0] * 10
    shutil.copy(files[1], folder / "000.a.wav")
    shutil.copy(files[1], folder / "._hidden.wav")
    os.utime(files[1], (1, 1))
    infer.label(found, [str(folder)], 0, str(target), False)
    labels = pd.read_csv(target)
    assert list(labels) == list(infer.COLUMNS) and list(labels["path"]) == sorted(
        [str(folder / "000.a.wav"), *files]
    )
    assert sum(calls) == len(files) - 5 + 2, "five of six rows were whole files; one is new, one has changed"
    assert {path.name for path in tmp_path.iterdir()} == {"new.csv", "known"}


def test_bad_audio_while_labelling(finished, data, tmp_path, capfd):
    clips = [str(data / "known"), str(data / "broken.mp3"), str(data / "empty.wav")]
    with pytest.raises(SystemExit):
        command.main([str(finished), *clips, "--to", str(tmp_path / "new.csv")])
    assert "broken.mp3" in capfd.readouterr().err and not (tmp_path / "new.csv").exists()
    assert command.main([str(finished), *clips, "--to", str(tmp_path / "new.csv"), "--skip-bad"]) == 0
    assert len(pd.read_csv(tmp_path / "new.csv")) == 9


@pytest.mark.parametrize("name", [b"a\xff.wav", b"\xe4\xf6.wav"])
def test_a_file_whose_name_is_no_text_is_a_line(name, finished, data, tmp_path, capfd):
    folder = tmp_path / "clips"
    folder.mkdir()
    for target in (name, b"good.wav"):
        shutil.copyfile(next((data / "known").iterdir()), os.fsencode(folder) + b"/" + target)
    with pytest.raises(SystemExit):
        command.main([str(finished), str(folder), "--to", str(tmp_path / "new.csv")])
    assert "no audio file that libsndfile can read" in capfd.readouterr().err
    words = [str(finished), str(folder), "--to", str(tmp_path / "new.csv"), "--skip-bad"]
    assert command.main(words) == 0 and len(pd.read_csv(tmp_path / "new.csv")) == 1


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nowhere"], "no table of clips nowhere"),
        (["nowhere", "a.wav"], "nowhere: give a folder that"),
        (["{run}"], "is a finished run: name the clips"),
        (["{run}", "nothing.wav"], "no clip nothing.wav"),
        (["{run}", "{run}/runs"], "no audio files in"),
        (["{run}", "{data}/long.flac", "--hop", "-1"], "--hop -1 is no length of time"),
        (["{run}", "{data}/long.flac", "--hop", "nan"], "--hop nan is no length of time"),
        (["{run}", "{data}/long.flac", "--hop", "inf"], "--hop inf is no length of time"),
        (["{data}", "--seconds", "0"], "clip_seconds"),
        (["{data}", "--steps", "0"], "--steps 0 must be at least 1"),
        (["{data}/long.flac", "{data}/long.flac"], "is damaged or no safetensors file"),
    ],
)
def test_mistakes_are_one_line(finished, data, capfd, words, error):
    with pytest.raises(SystemExit) as status:
        command.main([word.format(run=finished, data=data) for word in words])
    said = capfd.readouterr().err.strip().splitlines()
    assert status.value.code == 1 and error in said[-1] and said[-1].startswith("error: ")


def test_another_folder_of_the_same_name_is_not_overwritten(finished, outputs, tmp_path):
    other = own.table(tmp_path / "my_clips", labelled=2, unlabelled=1)
    with pytest.raises(UserError, match="holds the labels of"):
        command.label_table(str(other), "quick", str(outputs), True, False)


def sums_of(right: np.ndarray) -> intervals.Sums:
    """Two-class scores of one clip a recording, right where `right` says so."""
    labels = np.arange(len(right)) % 2
    predicted = np.where(right, labels, 1 - labels)
    return intervals.recording_sums(labels, 0.1 + 0.8 * np.eye(2)[predicted], np.arange(len(right)))


def judged(*right: np.ndarray) -> dict:
    return validate.judged(dict(zip(validate.METHODS, map(sums_of, right), strict=False)))


def test_the_simplest_is_trusted_until_it_is_beaten_beyond_noise():
    rng = np.random.default_rng(0)
    weak, strong = rng.random(200) < 0.6, rng.random(200) < 0.95
    close = weak.copy()
    close[:2] = ~close[:2]
    found = judged(weak, close, strong)
    assert found["trusted"] == validate.FIXMATCH
    assert (
        "FixMatch helped" in validate.sentences(found)[2]
        and "Trust the FixMatch" in validate.sentences(found)[1]
    )
    found = judged(strong, strong, weak)
    assert found["trusted"] == validate.PROBE and "FixMatch hurt" in validate.sentences(found)[2]
    found = judged(weak)
    assert len(validate.sentences(found)) == 3 and "not tried" in validate.sentences(found)[2]


def test_the_command_is_listed_and_make_gives_it_a_folder_as_it_is():
    root, name = Path(__file__).parent.parent, "-my 'clips' $HOME #1"
    kept = {"capture_output": True, "text": True, "cwd": root}
    assert "  label" in subprocess.run([sys.executable, "-m", "esc_suite", "--help"], **kept).stdout
    words = [
        "make",
        "-o",
        "install",
        f"BIN={Path(sys.executable).parent}",
        "label",
        f"DATA={name}",
        "LABEL=--fast",
    ]
    found = subprocess.run(words, **kept)
    assert found.returncode and f"no table of clips {name} (" in found.stderr
