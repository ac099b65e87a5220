import numpy as np
import pandas
import pytest

from esc_utils import config, index, urbansound
from esc_utils.errors import UserError


@pytest.fixture
def dataset(tiny):
    return urbansound.open_dataset(tiny())


def test_synthesised_default_is_indexed_like_the_real_set(dataset):
    assert dataset.synthesised
    assert list(dataset.clips["file"]) == sorted(dataset.clips["file"])
    assert set(dataset.clips["fold"]) == set(range(1, 11))
    assert set(dataset.clips["class_name"]) == set(urbansound.CLASSES)
    assert urbansound.leak_check(dataset).empty


def test_splits_are_disjoint_and_cover_everything(dataset, tiny):
    for fold in range(1, 11):
        parts = urbansound.split(tiny(train_fold=fold), dataset)
        rows = np.concatenate([parts.labelled, parts.validation, parts.unlabelled])
        assert sorted(rows) == list(range(len(dataset.clips)))
        assert parts.validation_folds == (fold % 10 + 1,)
        assert len(parts.unlabelled_folds) == 8
        recordings = [
            set(dataset.clips["fsid"].iloc[part])
            for part in (parts.labelled, parts.validation, parts.unlabelled)
        ]
        assert not (
            recordings[0] & recordings[1] or recordings[0] & recordings[2] or recordings[1] & recordings[2]
        )


def test_all_but_one_holds_out_the_same_fold(dataset, tiny):
    nine = urbansound.split(tiny("pann_100", train_fold=4), dataset)
    one = urbansound.split(tiny("pann_10", train_fold=4), dataset)
    assert np.array_equal(nine.validation, one.validation)
    assert len(nine.labelled_folds) == 9
    assert not len(nine.unlabelled)


def test_by_index_leaks_recordings(dataset, tiny):
    leaky = urbansound.open_dataset(tiny(synthetic_clips=3, fold_assignment="by_index"))
    assert leaky.clips.groupby("fsid")["fold"].nunique().max() > 1
    with pytest.raises(UserError, match="leak"):
        urbansound.leak_check(leaky)


@pytest.mark.parametrize("layout", ["official", "kaggle", "parent"])
def test_layouts(tmp_path, layout):
    root = tmp_path / ("UrbanSound8K" if layout == "parent" else "")
    audio, meta = (root, root) if layout == "kaggle" else (root / "audio", root / "metadata")
    (audio / "fold3").mkdir(parents=True)
    meta.mkdir(parents=True, exist_ok=True)
    (audio / "fold3" / "7-3-0-0.wav").write_bytes(b"x")
    header = ",".join(index.COLUMNS)
    (meta / "UrbanSound8K.csv").write_text(f"{header}\n7-3-0-0.wav,7,0.0,2.5,1,3,3,dog_bark\n")
    found = urbansound.load(tmp_path)
    assert len(found.clips) == 1
    assert found.clips["duration"][0] == 2.5
    assert not found.synthesised


@pytest.mark.real
def test_real_clips(real_clips):
    with pytest.raises(UserError, match=r"5747 of 8732 clips are missing.*allow_partial"):
        urbansound.load(real_clips)
    found = urbansound.load(real_clips, allow_partial=True)
    assert found.clips.groupby("fold").size().to_dict() == {1: 873, 2: 888, 3: 387, 10: 837}
    assert found.missing[3] == 925 - 387
    assert urbansound.leak_check(found).empty  # the five shared recordings lie in folds that are not here


@pytest.mark.real
def test_whole_index_has_the_five_known_shared_recordings(real_clips):
    clips = index.read_index(real_clips / "metadata" / "UrbanSound8K.csv")
    whole = urbansound.Dataset(real_clips, clips, False, "", {})
    table = urbansound.leak_check(whole)
    assert set(table["fsid"]) == set(urbansound.KNOWN_SHARED)
    assert clips.groupby("fold").size().tolist() == [873, 888, 925, 990, 936, 823, 838, 806, 816, 837]
    moved = clips.copy()
    moved.loc[moved.index[moved["fsid"] == moved["fsid"].mode()[0]][0], "fold"] = 11 - moved["fold"].iloc[0]
    with pytest.raises(UserError, match="folds leak"):
        urbansound.leak_check(urbansound.Dataset(real_clips, pandas.DataFrame(moved), False, "", {}))


def test_missing_dataset_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("ESC_KAGGLE_INPUT", str(tmp_path / "none"))
    monkeypatch.setattr(urbansound, "data_folder", lambda: tmp_path)
    with pytest.raises(UserError, match="make data"):
        urbansound.open_dataset(config.for_run("paper", "pann_10"))


@pytest.mark.parametrize("count", [1, 2])
def test_few_labels_leave_the_rest_of_the_fold_out(tiny, count):
    knobs = tiny("fixmatch_tau075", synthetic_clips=4, labels_per_class=count)
    made = urbansound.open_dataset(knobs)
    few, whole = (
        urbansound.split(knobs, made),
        urbansound.split(tiny("fixmatch_tau075", synthetic_clips=4), made),
    )
    classes = made.clips["class_id"].to_numpy()
    assert np.bincount(classes[few.labelled], minlength=10).tolist() == [count] * 10
    assert set(few.labelled) < set(whole.labelled) and np.array_equal(few.validation, whole.validation)
    assert np.array_equal(few.unlabelled, whole.unlabelled), (
        "nothing of the labelled fold: recordings stay apart"
    )
    for row in ("pann_control", "pann_probe", "cnn14_fixmatch"):
        own = urbansound.split(tiny(row, synthetic_clips=4, labels_per_class=count), made)
        assert np.array_equal(own.labelled, few.labelled), "rows that are compared have the same labels"
    other = urbansound.split(tiny("fixmatch_tau075", synthetic_clips=4, labels_per_class=count, seed=1), made)
    assert not np.array_equal(other.labelled, few.labelled)
    everything = urbansound.split(tiny("pann_100", synthetic_clips=4, labels_per_class=count), made)
    assert len(everything.labelled) == len(whole.labelled) + len(whole.unlabelled), "100% means all labels"
