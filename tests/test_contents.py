"""A dataset is known by what is in its clips: edits of every kind are noticed, and what changes nothing is
not."""

import os
import shutil
from pathlib import Path

import pytest
from bad_input import refused

from esc_suite.records import provenance
from esc_utils import contents, urbansound

HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"


@pytest.fixture
def root(tmp_path) -> Path:
    """Ten folds of two clips of 40 bytes each; never decoded here."""
    rows = []
    for fold in range(1, 11):
        folder = tmp_path / "set" / "audio" / f"fold{fold}"
        folder.mkdir(parents=True)
        for slice_id in range(2):
            name = f"{fold}-3-0-{slice_id}.wav"
            (folder / name).write_bytes(bytes([fold, slice_id]) * 20)
            rows.append(f"{name},{fold},0.0,0.1,1,{fold},3,dog_bark\n")
    (tmp_path / "set" / "metadata").mkdir()
    (tmp_path / "set" / "metadata" / "UrbanSound8K.csv").write_text(HEADER + "".join(rows))
    return tmp_path / "set"


def clip(root: Path, fold: int = 3, slice_id: int = 0) -> Path:
    return root / "audio" / f"fold{fold}" / f"{fold}-3-0-{slice_id}.wav"


def silence(root):
    clip(root).write_bytes(bytes(40))


def one_bit_with_its_time_restored(root):
    about = clip(root).stat()
    with clip(root).open("r+b") as file:
        file.write(b"\x02")
    os.utime(clip(root), ns=(about.st_atime_ns, about.st_mtime_ns))


def two_clips_change_names(root):
    clip(root).rename(root / "x")
    clip(root, 3, 1).rename(clip(root))
    (root / "x").rename(clip(root, 3, 1))


def another_file_under_the_name(root):
    about = clip(root).stat()
    (root / "new").write_bytes(b"n" * 40)
    os.utime(root / "new", ns=(about.st_atime_ns, about.st_mtime_ns))
    (root / "new").replace(clip(root))


EDITS = [silence, one_bit_with_its_time_restored, two_clips_change_names, another_file_under_the_name]


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize(
    "settled", [contents.SETTLED, -60.0]
)  # times that are too young to be relied on, and old ones
def test_edits_of_the_same_size_are_noticed(edit, settled, root, tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "SETTLED", settled)
    before = urbansound.load(root, memory=tmp_path / "memory.json").fingerprint
    edit(root)
    assert urbansound.load(root, memory=tmp_path / "memory.json").fingerprint != before


def touched(root):
    clip(root).touch()


def copied_over(root):
    shutil.copy(clip(root), root / "copy")
    (root / "copy").replace(clip(root))


def readable_by_all(root):
    clip(root).chmod(0o644)
    clip(root, 4).chmod(0o444)


@pytest.mark.parametrize("change", [touched, copied_over, readable_by_all])
def test_what_changes_no_content_changes_nothing(change, root, tmp_path):
    before = urbansound.load(root, memory=tmp_path / "memory.json").fingerprint
    change(root)
    assert urbansound.load(root, memory=tmp_path / "memory.json").fingerprint == before


def test_clips_are_read_once_and_then_only_where_they_changed(root, tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "SETTLED", -60.0)
    whole, read = contents.hashlib.file_digest, []

    def noted(file, kind):
        read.append(Path(file.name).name)
        return whole(file, kind)

    monkeypatch.setattr(contents.hashlib, "file_digest", noted)

    def names(memory) -> list[str]:
        read.clear()
        contents._known.clear()  # as in another process
        urbansound.load(root, memory=memory)
        return sorted(read)

    memory = tmp_path / "cache" / "memory.json"
    assert len(names(memory)) == 20 and names(memory) == []
    clip(root).touch()
    assert names(memory) == [clip(root).name]
    memory.write_text('{"fold3/3-3-0-0.wav": "damaged"}')
    assert len(names(memory)) == 20 and names(memory) == []
    assert len(names(Path("/proc/nowhere/memory.json"))) == 20  # where nothing can be kept


# ---- things that are no clips --------------------------------------------------------------------


def link_to_nowhere(path):
    path.symlink_to("../../.git/annex/objects/gone")


def link_to_itself(path):
    path.symlink_to(path.name)


def pipe(path):
    os.mkfifo(path)


@pytest.mark.parametrize("make", [link_to_nowhere, link_to_itself, pipe, Path.mkdir])
def test_what_is_no_file_costs_its_own_clip_at_most(make, root):
    make(clip(root).with_name(".#stray.wav"))
    assert len(urbansound.load(root).clips) == 20
    clip(root).unlink()
    make(clip(root))
    found = urbansound.load(root, allow_partial=True)
    assert len(found.clips) == 19 and found.missing == {3: 1}
    refused(lambda: urbansound.load(root), "1 of 20 clips", clip(root).name)


def test_links_that_are_not_fetched_are_called_so(root):
    clip(root).unlink()
    link_to_nowhere(clip(root))
    refused(lambda: urbansound.load(root), "fetch what 1 links point at", "git annex get")


def test_a_file_in_a_fold_s_place_is_said(root):
    shutil.rmtree(root / "audio" / "fold3")
    (root / "audio" / "fold3").write_text("")
    refused(lambda: urbansound.load(root, allow_partial=True), "fold3", "Not a directory", "unpack")


# ---- files that other programs leave -------------------------------------------------------------


@pytest.mark.parametrize("stray", ["._losses.py", ".ipynb_checkpoints/losses-checkpoint.py", ".#losses.py"])
def test_hidden_files_are_no_code(stray, tmp_path):
    (tmp_path / "losses.py").write_text("x = 1\n")
    before = provenance.folder_hash(tmp_path, "*.none")
    path = tmp_path / stray
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        ")
    assert provenance.folder_hash(tmp_path, "*.none") == before
    assert [p.name for p in contents.visible(tmp_path, "*.py")] == ["losses.py"]


def test_only_what_lies_below_a_folder_hides_a_file(tmp_path):
    folder = tmp_path / ".work" / "results"
    folder.mkdir(parents=True)
    (folder / "01.ipynb").touch()
    assert contents.visible(folder, "*.ipynb") == [folder / "01.ipynb"]
