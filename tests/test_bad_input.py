"""Bad and unusual datasets and parameters, as tables: supported with the right values, or one line that names
file or key and the remedy. Audio files: test_bad_audio.py; weights, disk, device: test_bad_environment.py."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from bad_input import one_line, refused
from permissions import drop_override

from esc_utils import config, urbansound

COLUMNS = "slice_file_name,fsID,start,end,salience,fold,classID,class"


# --- the dataset's folder and CSV -----------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path) -> Path:
    """Ten folds of two clips, official layout."""
    root = tmp_path / "UrbanSound8K"
    rows = [COLUMNS]
    for fold in range(1, 11):
        (root / "audio" / f"fold{fold}").mkdir(parents=True)
        for label in (1, 3):
            name = f"{fold}{label}-{label}-0-2.wav"
            soundfile.write(root / "audio" / f"fold{fold}" / name, np.zeros(800), 8000)
            rows.append(f"{name},{fold}{label},1.5,1.6,1,{fold},{label},{urbansound.CLASSES[label]}")
    (root / "metadata").mkdir()
    (root / "metadata" / "UrbanSound8K.csv").write_text("\n".join(rows) + "\n")
    return root


def table(root: Path) -> Path:
    return root / "metadata" / "UrbanSound8K.csv"


def replace(old: str, new: str, count: int = 1):
    def edit(root: Path) -> None:
        text = table(root).read_text()
        assert old in text
        table(root).write_text(text.replace(old, new, count), newline="")

    return edit


def to_kaggle(root: Path) -> None:
    table(root).rename(root / "UrbanSound8K.csv")
    for fold in (root / "audio").iterdir():
        fold.rename(root / fold.name)
    (root / "audio").rmdir()


def repeat_line(root: Path) -> None:
    lines = table(root).read_text().splitlines()
    table(root).write_text("\n".join([*lines, lines[3]]) + "\n")


GOOD_DATA = {
    "official": lambda root: None,
    "Kaggle's layout": to_kaggle,
    "no header": replace(COLUMNS + "\n", ""),
    "class_name column": replace(",class\n", ",class_name\n"),
    "CRLF": replace("\n", "\r\n", -1),
    "byte order mark": replace(COLUMNS, "\ufeff" + COLUMNS),
    "blank line at the end": lambda root: table(root).write_text(table(root).read_text() + "\n\n"),
    "spaces after commas": replace(",", ", ", -1),
    "numbers with a point": replace(",1,car_horn", ",1.0,car_horn", -1),
    "further columns": replace("\n", ",extra\n", -1),
    "other files among the clips": lambda root: (root / "audio" / "fold1" / ".DS_Store").touch(),
}


@pytest.mark.parametrize("case", GOOD_DATA)
def test_supported_dataset(case, dataset):
    GOOD_DATA[case](dataset)
    found = urbansound.load(dataset)
    clips = found.clips.set_index("file")
    assert len(clips) == 20 and not found.missing and not found.synthesised
    row = clips.loc["71-1-0-2.wav"]
    assert (row.fold, row.class_id, row.class_name, row.fsid, row.salience) == (7, 1, "car_horn", 71, 1)
    assert (row.start, row.end) == (1.5, 1.6) and row.duration == pytest.approx(0.1)
    assert Path(row.path).is_file()


def test_folder_around_the_dataset(dataset):
    """The folder that the archive was unpacked in, instead of the one inside."""
    assert len(urbansound.load(dataset.parent).clips) == 20


FIRST = "11-1-0-2.wav,11,1.5,1.6,1,1,1,car_horn"  # line 2
BAD_DATA = {  # how it is spoilt, what the message must hold
    "missing root": (shutil.rmtree, ("no dataset folder", "data_dir")),
    "root is a file": (lambda root: (shutil.rmtree(root), root.touch()), ("no dataset folder", "data_dir")),
    "empty folder": (
        lambda root: (shutil.rmtree(root), root.mkdir()),
        ("UrbanSound8K.csv", "is it the folder"),
    ),
    "half unpacked": (
        lambda root: shutil.rmtree(root / "audio" / "fold7"),
        ("2 of 20 clips are missing", "fold 7: 2", "allow_partial"),
    ),
    "one clip lost": (
        lambda root: (root / "audio" / "fold2" / "21-1-0-2.wav").unlink(),
        ("21-1-0-2.wav", "unpack"),
    ),
    "no audio at all": (lambda root: shutil.rmtree(root / "audio"), ("20 of 20", "unpack")),
    "empty CSV": (lambda root: table(root).write_text(""), ("UrbanSound8K.csv", "official")),
    "header alone": (lambda root: table(root).write_text(COLUMNS + "\n"), ("no clips", "official")),
    "text for CSV": (
        lambda root: table(root).write_text("<html>\nlog in\n</html>\n"),
        ("UrbanSound8K.csv", "column"),
    ),
    "bytes for CSV": (
        lambda root: table(root).write_bytes(np.random.default_rng(0).bytes(999)),
        ("UrbanSound8K.csv", "official"),
    ),
    "column missing": (replace("salience,", ""), ("UrbanSound8K.csv",)),
    "column renamed": (replace("salience", "loudness"), ("salience",)),
    "line cut": (replace(FIRST, "11-1-0-2.wav,11,1.5"), ("line 2", "official")),
    "duplicate row": (repeat_line, ("22", "listed twice", "remove")),
    "fold 11": (replace(FIRST, FIRST.replace(",1,1,1,", ",1,11,1,")), ("line 2", "fold is 11", "1 to 10")),
    "fold is text": (
        replace(FIRST, FIRST.replace(",1,1,1,", ",1,one,1,")),
        ("line 2", "'one'", "not a number"),
    ),
    "class 10": (replace(FIRST, FIRST.replace(",1,car", ",10,car")), ("line 2", "classID is 10", "0 to 9")),
    "class and number disagree": (replace("1,car_horn", "1,siren"), ("line 2", "siren", "disagree")),
    "name and class disagree": (
        replace("11-1-0-2.wav", "11-5-0-2.wav"),
        ("line 2", "11-5-0-2.wav", "disagree"),
    ),
    "name and recording disagree": (
        replace("11-1-0-2.wav,11", "11-1-0-2.wav,12"),
        ("line 2", "fsID 12", "disagree"),
    ),
    "name of another form": (replace("11-1-0-2.wav", "dog.wav"), ("line 2", "dog.wav", "fsID-classID")),
    "name leads elsewhere": (replace("11-1-0-2.wav", "../11-1-0-2.wav"), ("line 2", "fsID-classID")),
    "ends before it starts": (replace("1.5,1.6", "1.6,1.5"), ("line 2", "before it starts")),
    "no start": (replace("1.5,1.6", ",1.6"), ("line 2", "start", "not a number")),
    "damaged DATASET.json": (
        lambda root: (root / "DATASET.json").write_text("{"),
        ("DATASET.json", "delete"),
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_dataset(case, dataset):
    spoil_it, words = BAD_DATA[case]
    spoil_it(dataset)
    refused(lambda: urbansound.load(dataset), *words)


def test_half_unpacked_dataset_is_supported_on_request(dataset):
    shutil.rmtree(dataset / "audio" / "fold7")
    found = urbansound.load(dataset, allow_partial=True)
    assert found.missing == {7: 2} and len(found.clips) == 18 and 7 not in set(found.clips["fold"])


@pytest.mark.parametrize("place", ["metadata/UrbanSound8K.csv", "audio/fold3", "audio/fold3/31-1-0-2.wav"])
def test_no_permission(place, dataset):
    """In a process of its own, without root's right to read everything."""
    (dataset / place).chmod(0)
    code = (
        "import sys; from esc_utils import features, urbansound; from esc_utils.errors import UserError\n"
        f"try:\n    clips = urbansound.load({str(dataset)!r}).clips\n"
        "    [features.decode(path) for path in clips['path']]\n"
        "except UserError as error:\n    sys.exit(str(error))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], preexec_fn=drop_override, capture_output=True, text=True
    )
    (dataset / place).chmod(0o755)
    assert done.returncode == 1
    one_line(done.stderr, Path(place).name, "ermission")


# --- parameters -----------------------------------------------------------------------------------

BAD_PARAMETERS = {  # overrides over the quick profile's fixmatch_tau075, what the message must hold
    "unknown": ({"widht": 8}, ("unknown parameter 'widht'", "did you mean 'width'")),
    "unknown and far off": ({"qqq": 8}, ("unknown parameter 'qqq'", "params/base.yaml")),
    "text for a number": ({"epochs": "many"}, ("epochs", "'many'")),
    "1e-4 read as text": ({"learning_rate": "1e-4"}, ("learning_rate", "1.0e-4")),
    "number for a switch": ({"mixup": 1}, ("mixup", "boolean")),
    "switch for a number": ({"epochs": True}, ("epochs", "integer")),
    "fraction for a count": ({"batch_size": 1.5}, ("batch_size", "integer")),
    "list for a number": ({"tau": [0.95]}, ("tau",)),
    "nothing for a text": ({"data_dir": None}, ("data_dir", "string")),
    "choice that is not": ({"optimizer": "adam"}, ("optimizer", "'adamw'")),
    "threshold over 1": ({"tau": 1.5}, ("tau", "1.5", "less than or equal to 1")),
    "no epochs": ({"epochs": 0}, ("epochs", "greater than or equal to 1")),
    "fold 11": ({"train_fold": 11}, ("train_fold", "11")),
    "negative seed": ({"seed": -1}, ("seed", "-1")),
    "no seeds": ({"seeds": []}, ("seeds",)),
    "rate not a number": ({"learning_rate": float("nan")}, ("learning_rate",)),
    "rate infinite": ({"learning_rate": float("inf")}, ("learning_rate", "finite")),
    "weight infinite": ({"lambda_u": float("inf")}, ("lambda_u", "finite")),
    "too wide": ({"width": 128}, ("width", "128")),
    "clip too short": ({"clip_seconds": 0.05}, ("clip_seconds",)),
    "validates on the training fold": ({"valid_fold": 1}, ("valid_fold", "train_fold", "another fold")),
    "FixMatch without unlabelled folds": ({"labelled": "all_but_one"}, ("fixmatch", "all_but_one")),
    "restart after the end": ({"restart_every": 71}, ("restart_every", "epochs")),
    "MixMatch mixup without mixup": (
        {"mixup": False, "mixup_pairs": "mixmatch"},
        ("mixup_pairs", "mixup: true"),
    ),
    "joint pass in eval mode": ({"forward": "joint", "pseudo_mode": "eval"}, ("forward", "pseudo_mode")),
    "float16 on the CPU": ({"precision": "float16", "device": "cpu"}, ("precision", "float32")),
}


@pytest.mark.parametrize("case", BAD_PARAMETERS)
def test_bad_parameters(case):
    overrides, words = BAD_PARAMETERS[case]
    refused(lambda: config.for_run("quick", "fixmatch_tau075", **overrides), *words)


BAD_FILES = {
    "missing": (None, ("cannot be read", "check the name")),
    "not YAML": (b"tau: [0.5\nmu: 7\n", ("not valid YAML",)),
    "not text": (b"\xff\xfe\x00tau", ("not valid YAML",)),
    "a list": (b"- tau\n- mu\n", ("flat",)),
    "nested": (b"fixmatch:\n  tau: 0.75\n", ("unknown parameter 'fixmatch'",)),
    "number as key": (b"1: 2\n", ("flat",)),
    "key twice": (b"tau: 0.5\nmu: 7\n# later\ntau: 0.9\n", ("line 4", "'tau'", "second time", "remove")),
    "octal": (b"tau: 0.5\ntrain_fold: 010\n", ("line 2", "train_fold: 010 is 8 in YAML", "plain digits")),
    "octal in a list": (b"seeds:\n  - 0\n  - 017\n", ("line 3", "seeds: 017 is 15 in YAML")),
    "minutes": (b"epochs: 1:10\n", ("line 1", "epochs: 1:10 is 70 in YAML")),
    "1e-4": (b"learning_rate: 1e-4\n", ("learning_rate", "1.0e-4")),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_parameter_file(case, tmp_path):
    content, words = BAD_FILES[case]
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_bytes(content)
    refused(lambda: config.from_files([*config.layers_of("quick", ""), path]), "mine.yaml", *words)


def test_an_empty_parameter_file_changes_nothing(tmp_path):
    (tmp_path / "mine.yaml").write_text("# nothing yet\n")
    layers = config.layers_of("quick", "pann_10")
    assert config.from_files([*layers, tmp_path / "mine.yaml"]) == config.from_files(layers)


@pytest.mark.parametrize(
    ("profile", "experiment"), [("huge", "pann_10"), ("quick", "pann_11"), ("quick", "../base")]
)
def test_unknown_names(profile, experiment):
    refused(lambda: config.for_run(profile, experiment), "choose from")
