"""The script for a GPU, dry: every phase at tiny size on the CPU, and what it wrote taken back into a
project."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tools" / "bench"))
import first_light_pack as pack

from esc_suite.results import comparison
from esc_utils import paths
from esc_utils.errors import UserError

ROOT = Path(__file__).parent.parent

TINY = (
    "dataset=synthetic",
    "synthetic_clips=1",
    "clip_seconds=0.64",
    "batch_size=2",
    "fixmatch_batch_size=2",
    "mu=1",
    "width=1",
)


def published() -> Path:
    beside = ROOT.parent / "shared" / "mn04" / paths.MN04_FILE
    if not beside.is_file():
        pytest.skip(f"no {paths.MN04_FILE} in shared/mn04 beside the checkout")
    return beside


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the script wrote in one call."""
    folder = tmp_path_factory.mktemp("first_light")
    (folder / "carried").mkdir()
    (folder / "carried" / paths.MN04_FILE).symlink_to(published())
    words = [
        "--carried",
        folder / "carried",
        "--out",
        folder / "out",
        "--work",
        folder / "work",
        "--device",
        "cpu",
    ]
    words += ["--small", "--threads", "1", "--ways", "mn04 fixmatch ours;cnn14 scoring ours", "--only"]
    words += ["cnn14_table2,fixmatch_tau075_accum", "--run-set", "steps=4", "--seconds", "900"]
    words += [word for knob in TINY for word in ("--set", knob)]
    done = subprocess.run(
        [sys.executable, "tools/bench/first_light.py", *map(str, words)], cwd=ROOT, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return folder / "out"


def lines(found: Path) -> list[dict]:
    return [json.loads(line) for line in (found / "first_light.jsonl").read_text().splitlines()]


def test_every_phase_ends_well_and_writes_as_it_goes(found):
    ended = {line["phase"]: line["ended"] for line in lines(found) if "ended" in line}
    assert ended == dict.fromkeys(("data", "throughput", "profile", "agreement", "first_runs", "runs"), 0)
    assert not [line for line in lines(found) if "failed" in line]
    ways = {line["way"] for line in lines(found) if line.get("phase") == "agreement" and "way" in line}
    assert ways == {"float32", "float32, TF32", "bfloat16"}
    for line in lines(found):
        if line.get("phase") == "agreement" and line.get("way") == "float32":
            assert line["loss_first"] < 1e-5, "the same draws on the same device"


def test_records_come_back_whole_and_once(found, tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "KEPT", ROOT / "outputs" / "evidence" / "gpu" / "kept-by-a-test.json")
    try:
        for _ in range(2):
            pack.collect(found, tmp_path, "abc1234")
        kept = json.loads(pack.KEPT.read_text())
    finally:
        pack.KEPT.unlink(missing_ok=True)
    assert [call["commit"] for call in kept] == ["abc1234"] and kept[0]["results"] == lines(found)
    names = [path.parent.name for path in comparison.run_folders(tmp_path, "paper-partial")]
    assert names == ["cnn14_table2", "fixmatch_tau075_accum"]
    figures = tmp_path / "paper-partial" / "figures" / "fixmatch_tau075_accum" / "fold1_seed0"
    assert {path.name for path in figures.glob("*.png")} == {
        "confidence_mask.png",
        "pseudo_labels_by_class.png",
    }


def test_an_archive_is_whole_after_every_record(found):
    with tarfile.open(found / "records-0.tar.gz") as tar:
        names = tar.getnames()
    for experiment in ("cnn14_table2", "fixmatch_tau075_accum"):
        assert f"paper-partial/runs/{experiment}/fold1_seed0/metrics.json" in names


def test_an_archive_that_leads_elsewhere_is_refused(tmp_path):
    (tmp_path / "x").write_text("x")
    with tarfile.open(tmp_path / "records-0.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "x", "../x")
    with pytest.raises(UserError, match="which is no record"):
        pack.unpack(tmp_path / "records-0.tar.gz", tmp_path / "inside")


def test_too_much_to_carry_and_nothing_to_take_back_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "SHARED", tmp_path)
    with pytest.raises(UserError, match="needs real clips and mn04's weights"):
        pack.pack(tmp_path / "into", "3.12")
    with pytest.raises(UserError, match="give the folder that"):
        pack.collect(tmp_path, tmp_path, "abc1234")
    (tmp_path / "us8k-real").mkdir()
    (tmp_path / "us8k-real" / "unpack.py").touch()
    (tmp_path / "mn04").mkdir()
    (tmp_path / "mn04" / paths.MN04_FILE).write_bytes(bytes(2**20))
    monkeypatch.setattr(pack, "download", lambda *_: None)
    monkeypatch.setattr(pack, "MOST_MIB", 1)
    with pytest.raises(UserError, match="the most is 1: leave something out"):
        pack.pack(tmp_path / "into", "3.12")


def test_the_page_shows_the_committed_results():
    start, end = pack.MARKS
    text = pack.PAGE.read_text(encoding="utf-8")
    assert text.split(start)[1].split(end)[0].strip() == pack.tables().strip(), (
        "python tools/bench/first_light_pack.py page"
    )
