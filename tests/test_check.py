"""`python -m esc_suite check`: what is in order passes, each thing that is not is named with its remedy."""

import hashlib
import shutil
import subprocess
import sys
import time
from collections import Counter, namedtuple
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from esc_suite.run import check, check_data, download
from esc_utils import config, urbansound
from esc_utils.errors import UserError

PROJECT = Path(__file__).resolve().parent.parent
HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the project's files that the checks read, for tests to spoil."""
    root = tmp_path / "project"
    root.mkdir()
    shutil.copytree(PROJECT / "params", root / "params")
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(PROJECT / name, root)
    monkeypatch.setenv("ESC_ROOT", str(root))
    return root


@pytest.fixture
def data(tmp_path):
    """An official layout with one short, real WAV in each of ten folds."""
    import numpy as np
    import soundfile

    root = tmp_path / "data"
    rows = []
    for fold in range(1, 11):
        name = f"{fold}-3-0-0.wav"
        (root / "audio" / f"fold{fold}").mkdir(parents=True)
        soundfile.write(root / "audio" / f"fold{fold}" / name, np.zeros(1600, dtype=np.float32), 16000)
        rows.append(f"{name},{fold},0.0,0.1,1,{fold},3,dog_bark\n")
    (root / "metadata").mkdir()
    (root / "metadata" / "UrbanSound8K.csv").write_text(HEADER + "".join(rows))
    return root


def every(name: str, profile: str = "quick", quick: bool = True, **overrides) -> list[tuple[str, str]]:
    """(status, text) of the lines of one check."""
    found = list(check._lines(getattr(check, name), check.setup_of(profile, quick, **overrides)))
    assert all("\n" not in line.text for line in found)
    return [(line.status, line.text) for line in found]


def only(name: str, *arguments, **overrides) -> tuple[str, str]:
    (found,) = every(name, *arguments, **overrides)
    return found


def test_quick_part_is_quick_and_does_without_torch():
    code = (
        "import sys; from esc_suite.run import check; check.main(['--quick']);"
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 10  # 1.3 s by itself; the bound leaves room for a busy machine


def test_aligned_lines_and_exit_status(project, capsys):
    status = check.main(["--quick", "--profile", "lite", "--data", str(project / "nowhere")])
    printed = capsys.readouterr().out.splitlines()
    assert status == 1
    assert {line.split()[0] for line in printed} <= {"ok", "warn", "fail"}
    column = printed[0].index("3.")  # the text of the python line: every line's text starts there
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in printed)
    assert sum(line.startswith("fail  dataset") for line in printed) == 1


def test_unknown_profile(project, capsys):
    assert check.main(["--quick", "--profile", "huge"]) == 1
    assert "no profile 'huge'" in capsys.readouterr().out


def test_a_line_of_its_own_for_a_bad_parameter_file(project, capsys):
    (project / "params" / "profiles" / "quick.yaml").write_text("profile: quick\nwidht: 8\n")
    assert check.main(["--quick"]) == 1
    assert "did you mean 'width'" in capsys.readouterr().out


def test_python_of_another_version(project, monkeypatch):
    monkeypatch.setattr(check.platform, "python_version", lambda: "3.9.2")
    status, text = only("python")
    assert status == "fail" and "needs" in text


LOCKS = {
    "dependency not locked": (lambda text: text.replace("soxr==", "soxx=="), "soxr is not locked"),
    "excluded version": (lambda text: text.replace("pandas==3", "pandas==1"), "is not >=2.2"),
    "address in the lock": (lambda text: text + "a @ https://example.org/a.whl\n", "not name==version"),
    "range in the lock": (lambda text: text + "abc>=1\n", "not name==version"),
}


@pytest.mark.parametrize("case", LOCKS)
def test_lock_out_of_step(project, case):
    spoil, expected = LOCKS[case]
    path = project / "requirements.lock"
    path.write_text(spoil(path.read_text()))
    status, text = only("lock")
    assert status == "fail" and expected in text


def test_lock_in_step(project):
    assert only("lock")[0] == "ok"


def test_package_missing(project):
    path = project / "pyproject.toml"
    path.write_text(path.read_text().replace('"tqdm>=4.67"', '"no-such-package>=1"'))
    status, text = only("packages")
    assert status == "fail" and "missing: no-such-package; install" in text


def test_package_of_another_version(project):
    path = project / "requirements.lock"
    path.write_text(path.read_text().replace("soxr==1", "soxr==7"))
    status, text = only("packages")
    assert status == "warn" and "soxr" in text


BUILDS = {
    "one release, one build": (("2.11.0+cu130", "13.0"), ("2.11.0+cu130", None), "ok"),
    "CPU builds": (("2.11.0+cpu", None), ("2.11.0+cpu", None), "ok"),
    "another release": (("2.13.0", None), ("2.11.0+cu130", None), "fail"),
    "CPU-only torch": (("2.11.0+cpu", None), ("2.11.0+cu130", None), "fail"),
    "CPU-only torchaudio": (("2.11.0+cu130", "13.0"), ("2.11.0+cpu", None), "fail"),
}


@pytest.mark.parametrize("case", BUILDS)
def test_torch_beside_torchaudio(project, monkeypatch, case):
    *builds, expected = BUILDS[case]
    keyed = [{"version": version, "cuda": cuda} for version, cuda in builds]
    found = dict(zip(("torch", "torchaudio"), keyed, strict=True))
    monkeypatch.setattr(check.sys, "platform", "linux")
    monkeypatch.setattr(check, "_version_file", found.get)
    status, text = only("torch")
    assert status == expected
    assert (expected == "ok") != ("uv pip sync" in text)


def test_torch_missing(project, monkeypatch):
    monkeypatch.setattr(check, "_version_file", lambda name: None)
    assert only("torch")[0] == "fail"


def test_version_read_without_import_is_the_real_one():
    import torch

    assert check._version_file("torch") == {"version": torch.__version__, "cuda": torch.version.cuda}


@pytest.mark.parametrize(("wanted", "there", "expected"), [("cuda", False, "fail"), ("auto", False, "ok")])
def test_device(project, monkeypatch, wanted, there, expected):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    setup = check.Setup(
        config.from_files(config.layers_of("quick", ""), {"device": wanted}),
        project,
        False,
    )
    found = list(check._lines(check.device, setup))
    assert [line.status for line in found] == [expected]


def test_paper_on_a_small_card(project, monkeypatch):
    import torch

    card = namedtuple("Card", "name total_memory")("Small", int(8e9))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    status, text = only("device", "paper", quick=False)
    assert status == "warn" and "16 GB" in text


def test_dataset_partial_and_whole(project, data, monkeypatch):
    status, text = only("dataset", "lite", data_dir=str(data))
    assert status == "warn" and "10 clips in 10 folds" in text and "fold 1 has 1, not 873" in text
    monkeypatch.setattr(urbansound, "FOLD_SIZES", dict.fromkeys(range(1, 11), 1))
    assert only("dataset", "lite", data_dir=str(data))[0] == "ok"
    (data / "audio" / "fold4" / "4-3-0-0.wav").unlink()
    status, text = only("dataset", "lite", data_dir=str(data), allow_partial=False)
    assert status == "fail" and "fold 4: 1" in text
    assert only("dataset", "lite", data_dir=str(data))[0] == "warn"  # lite goes on with what is there


def test_dataset_that_leaks(project, data):
    table = data / "metadata" / "UrbanSound8K.csv"
    table.write_text(table.read_text() + "1-3-0-1.wav,1,0.0,0.1,1,2,3,dog_bark\n")
    shutil.copy(data / "audio" / "fold1" / "1-3-0-0.wav", data / "audio" / "fold2" / "1-3-0-1.wav")
    status, text = only("dataset", "lite", data_dir=str(data))
    assert status == "fail" and "recording 1" in text


def test_full_part_decodes_clips(project, data):
    _, official, decoded = every("dataset", "lite", quick=False, data_dir=str(data))
    assert official[0] == "warn" and "0 of 10 clips that are there are official; 10 differ" in official[1]
    assert decoded == ("ok", "one clip of each fold decoded, 1.0 s")
    (data / "audio" / "fold7" / "7-3-0-0.wav").write_text("no audio")
    status, text = every("dataset", "lite", quick=False, data_dir=str(data))[-1]
    assert status == "fail" and "7-3-0-0.wav" in text


def test_which_clips_are_the_published_ones(project, data, monkeypatch, tmp_path):
    published = tmp_path / "published.tsv"
    lines = ["# what it is", "fold\tslice_file_name\tsha256\tbytes"]
    for path in sorted((data / "audio").glob("fold*/*.wav")):
        lines.append(f"{path.parent.name}\t{path.name}\t{hashlib.sha256(path.read_bytes()).hexdigest()}\t0")
    published.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(check_data, "OFFICIAL", published)
    every_line = partial(every, "dataset", "lite", quick=False, data_dir=str(data))
    assert every_line()[1] == ("ok", "10 of 10 official")
    clip = data / "audio" / "fold4" / "4-3-0-0.wav"
    clip.write_bytes(clip.read_bytes()[:-2] + b"\1\1")  # as many bytes as before
    status, text = every_line()[1]
    assert (
        status == "warn"
        and "9 of 10 clips that are there are official; 1 differ" in text
        and clip.name in text
    )
    clip.unlink()
    status, text = every_line()[1]
    assert status == "warn" and "9 of 9 clips that are there are official; 1 of 10 are not there" in text


def test_the_list_of_published_clips_is_whole():
    lines = [line.split("\t") for line in check_data.OFFICIAL.read_text().splitlines()[2:]]
    folds = Counter(int(fold.removeprefix("fold")) for fold, *_ in lines)
    assert folds == urbansound.FOLD_SIZES and len({name for _, name, *_ in lines}) == len(lines) == 8732
    assert all(len(digest) == 64 and int(digest, 16) for _, _, digest, _ in lines)


def test_pann_weights(project, monkeypatch, tmp_path):
    source = download.SOURCES["weights"]
    status, text = only("weights", "paper")
    assert status == "fail" and source.name in text and source.checksum in text
    path = tmp_path / source.name
    path.write_bytes(b"weights")
    assert only("weights", "paper", weights_path=str(path))[0] == "ok"
    assert only("weights", "paper", quick=False, weights_path=str(path))[0] == "warn"
    right = replace(source, checksum=f"md5:{hashlib.md5(b'weights').hexdigest()}")
    monkeypatch.setitem(download.SOURCES, "weights", right)
    assert only("weights", "paper", quick=False, weights_path=str(path))[0] == "ok"


def test_mn04_weights(project, monkeypatch, tmp_path):
    source = download.SOURCES["mn04"]
    status, text = only("weights", "lite")
    assert status == "warn" and str(project / "data" / source.name) in text and source.url() in text
    (project / "data").mkdir()
    (project / "data" / source.name).write_bytes(b"weights")
    assert only("weights", "lite")[0] == "ok"
    status, text = only("weights", "lite", quick=False)
    assert status == "fail" and "damaged" in text
    status, text = only("weights", "lite", weights_path=str(tmp_path / "mine.pt"))
    assert status == "fail" and "mine.pt" in text and "weights_path" in text


def test_mn04_weights_are_loaded_in_full(project, tmp_path, monkeypatch):
    import torch

    from esc_utils.standins.mn04 import Mn04

    mine = tmp_path / "mine.pt"
    state = Mn04(10).state_dict()
    torch.save(
        {key: value for key, value in state.items() if not key.startswith(("fc_transfer", "mean"))}, mine
    )
    status, text = only("weights", "lite", quick=False, weights_path=str(mine))
    assert status == "warn" and "loads" in text and "another file" in text
    right = replace(
        download.SOURCES["mn04"], checksum=f"sha256:{hashlib.sha256(mine.read_bytes()).hexdigest()}"
    )
    monkeypatch.setitem(download.SOURCES, "mn04", right)
    assert only("weights", "lite", quick=False, weights_path=str(mine))[0] == "ok"


def test_memory(project, monkeypatch):
    for free, status in ((8e9, "ok"), (1e9, "warn")):
        monkeypatch.setattr(check.limits, "free_memory", lambda free=free: free)
        found, text = only("memory", "lite", quick=False)
        assert found == status and f"{free / 1e9:.1f} GB free" in text


def test_outputs_not_writable(project, tmp_path):
    (tmp_path / "file").touch()
    status, text = only("outputs", outputs=str(tmp_path / "file"))
    assert status == "fail" and "cannot write" in text and "file" in text


def test_outputs_leave_nothing_behind(project, tmp_path):
    assert only("outputs", outputs=str(tmp_path / "new" / "place"))[0] == "ok"
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".esc-check*"))


def test_disk_nearly_full(project, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, 10**8))
    status, text = only("outputs", "paper")
    assert status == "fail" and "needs about" in text


def test_engine_not_registered(project, monkeypatch):
    monkeypatch.setattr(check.metadata, "entry_points", lambda **wanted: [])
    status, text = only("engine")
    assert status == "warn" and "install the project itself" in text


def test_user_error_of_a_check_becomes_a_line(project, monkeypatch):
    def spoilt(setup):
        raise UserError("this is wrong: do that")
        yield

    monkeypatch.setattr(check, "CHECKS", (spoilt,))
    assert check.run(check.setup_of()) == [check.Line("fail", "spoilt", "this is wrong: do that")]
