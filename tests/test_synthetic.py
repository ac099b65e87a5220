"""The synthesised dataset: UrbanSound8K's layout and rules, and nothing that depends on order, time or the
machine."""

import csv
import json
import threading

import numpy as np
import pytest
import soundfile

from esc_utils import urbansound
from esc_utils.errors import UserError
from esc_utils.standins import sounds, synthetic, urban

SMALL = {"clips_per_class": 3, "folds": 10, "clip_seconds": 0.32}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return synthetic.write_dataset(tmp_path_factory.mktemp("data") / "set", **SMALL)


def rows(root):
    with (root / "metadata/UrbanSound8K.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def content(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_it_is_urbansound8k_to_the_reader(root):
    data = urbansound.load(root)
    assert data.synthesised
    assert not data.missing
    assert urbansound.leak_check(data).empty
    assert tuple(urban.URBAN) == urbansound.CLASSES
    assert data.clips.groupby("fold").size().to_dict() == dict.fromkeys(range(1, 11), 30)
    assert (data.clips.groupby(["fold", "class_id"]).size() > 0).sum() == 100
    assert set(data.clips["salience"]) == {1, 2}


def test_recordings_yield_several_slices_of_one_class_in_one_fold(root):
    slices = {}
    for row in rows(root):
        slices.setdefault(row["fsID"], []).append((row["fold"], row["classID"], row["salience"]))
    assert all(len(set(found)) == 1 for found in slices.values())
    assert max(len(found) for found in slices.values()) >= 3
    assert len(slices) > 100


def test_the_header_is_the_official_one(root):
    header = (root / "metadata/UrbanSound8K.csv").read_text().splitlines()[0]
    assert header == "slice_file_name,fsID,start,end,salience,fold,classID,class"


def test_files_are_16_bit_mono_as_long_as_the_index_says(root):
    shorter = 0
    for row in rows(root):
        info = soundfile.info(root / f"audio/fold{row['fold']}/{row['slice_file_name']}")
        assert (info.subtype, info.channels, info.samplerate) == ("PCM_16", 1, 16000)
        assert info.frames / 16000 == pytest.approx(float(row["end"]) - float(row["start"]), abs=2e-6)
        assert info.frames <= round(0.32 * 16000)
        shorter += info.frames < round(0.32 * 16000)
    assert 0.1 < shorter / len(rows(root)) < 0.5


def test_levels_vary_and_never_clip(root):
    peaks = []
    for row in rows(root):
        wave, _ = soundfile.read(root / f"audio/fold{row['fold']}/{row['slice_file_name']}")
        peaks.append(np.abs(wave).max())
    assert max(peaks) < 1
    assert 20 * np.log10(max(peaks) / min(peaks)) > 10


def test_the_same_arguments_make_the_same_bytes_and_another_seed_does_not(root, tmp_path):
    first = content(root)
    assert content(synthetic.write_dataset(tmp_path / "again", **SMALL)) == first
    other = synthetic.write_dataset(tmp_path / "other", **SMALL | {"folds": 1, "seed": 1})
    assert not [k for k, v in content(other).items() if k.endswith(".wav") and first.get(k) == v]


def test_a_recording_does_not_depend_on_the_size_of_the_set(root, tmp_path):
    few = content(synthetic.write_dataset(tmp_path / "few", **SMALL | {"folds": 1}))
    waves = {k: v for k, v in few.items() if k.endswith(".wav")}
    assert waves.items() <= content(root).items()


def test_a_complete_set_is_left_alone_and_a_damaged_one_is_made_again(tmp_path):
    settings = SMALL | {"folds": 1}
    root = synthetic.write_dataset(tmp_path / "set", **settings)
    clip = next(root.glob("audio/fold1/*.wav"))
    before, bytes_before = clip.stat().st_mtime_ns, clip.read_bytes()
    synthetic.write_dataset(root, **settings)
    assert clip.stat().st_mtime_ns == before
    clip.unlink()
    synthetic.write_dataset(root, **settings)
    assert clip.read_bytes() == bytes_before
    assert sorted(p.name for p in tmp_path.iterdir()) in (["set"], [".set.lock", "set"])


def test_other_settings_replace_our_set_but_never_a_users_files(tmp_path):
    settings = SMALL | {"folds": 1}
    root = synthetic.write_dataset(tmp_path / "set", **settings)
    synthetic.write_dataset(root, **settings | {"seed": 5})
    assert json.loads((root / "DATASET.json").read_text())["seed"] == 5
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="mine"):
        synthetic.write_dataset(mine, **settings)
    assert (mine / "notes.txt").read_text() == "mine"


def test_two_writers_at_once_make_one_set(tmp_path):
    settings, failures = SMALL | {"folds": 1}, []

    def write():
        try:
            synthetic.write_dataset(tmp_path / "set", **settings)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not failures
    assert len(urbansound.load(tmp_path / "set").clips) == 30


@pytest.mark.parametrize("name", list(urban.URBAN))
def test_every_class_renders_finite_sound_at_any_length(name):
    rng = np.random.default_rng(3)
    for samples in (1500, 20480):
        wave = sounds.render(sounds.draw(urban.URBAN[name], rng), samples, 16000, rng, snr=10)
        assert wave.shape == (samples,) and wave.dtype == np.float32
        assert np.isfinite(wave).all() and 0.03 < np.abs(wave).max() <= 1


def test_snr_is_the_level_of_the_sound_over_its_background():
    """A steady tone of known pitch in flat noise: the tone's power against the rest, from the spectrum."""
    rng = np.random.default_rng(0)
    tone = {
        "noise": (0.0, 0.0),
        "f0": (1000.0, 1000.0),
        "span": (0, 0),
        "depth": (0, 0),
        "formants": [0],
        "tilt": (-90, -90),
    }
    recording = sounds.draw((tone,), rng)
    recording["device"].update(curve=np.zeros(9), low_cut=1.0, high_cut=1e6)
    recording["background"].update(tilt=0.0, depth=0.0)
    power = np.abs(np.fft.rfft(sounds.render(recording, 16000, 16000, rng, snr=6.0) * np.hanning(16000))) ** 2
    near = slice(900, 1100)
    found = 10 * np.log10(power[near].sum() / (power.sum() - power[near].sum()))
    assert found == pytest.approx(6.0, abs=0.7)
