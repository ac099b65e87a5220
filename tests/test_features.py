import multiprocessing
import os

import numpy as np
import pytest
import torch

from esc_utils import config, features, logmel, urbansound


def test_frames_and_silence():
    levels = logmel.LogMel()(torch.zeros(2, 80_000))
    assert levels.shape == (2, 1, 501, 64)
    assert torch.all(levels == -100)


def test_store_equals_the_front_end_clip_by_clip(tiny):
    knobs = tiny()
    dataset = urbansound.open_dataset(knobs)
    store = features.open_store(knobs, dataset)
    assert store.dtype == np.float16
    assert len(store) == len(dataset.clips)
    # The same batch as the store's first: the convolution of a clip alone rounds otherwise, and that is not
    # float16's error.
    first = features.waveforms(dataset.clips["path"][: features.BATCH], knobs.clip_seconds)
    exact = logmel.LogMel()(torch.from_numpy(first))[:, 0].numpy()
    stored = store[: features.BATCH].astype(np.float32)
    assert np.array_equal(stored, exact.astype(np.float16).astype(np.float32))
    assert np.abs(stored - exact).max() <= features.FLOAT16_ERROR_DB


def test_float16_error_bound_holds_over_the_whole_range():
    levels = np.linspace(-127.9, 127.9, 1_000_003)
    assert np.abs(levels.astype(np.float16).astype(float) - levels).max() <= features.FLOAT16_ERROR_DB


def test_store_is_keyed_by_data_and_clip_length(tiny):
    knobs = tiny()
    dataset = urbansound.open_dataset(knobs)
    longer = knobs.model_copy(update={"clip_seconds": 1.0})
    other = urbansound.Dataset(dataset.root, dataset.clips, True, "another", {})
    paths = {features.store_path(*pair) for pair in [(knobs, dataset), (longer, dataset), (knobs, other)]}
    assert len(paths) == 3


def _build(values, dataset):
    features.open_store(config.RunConfig(**values), dataset)


def test_two_builders_at_once_leave_one_good_store(tiny, tmp_path):
    knobs = tiny()
    dataset = urbansound.open_dataset(knobs)
    expected = np.array(features.open_store(knobs, dataset))
    values = knobs.model_dump() | {"cache_dir": str(tmp_path / "cache")}
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_build, args=(values, dataset)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    store = features.open_store(config.RunConfig(**values), dataset)
    assert np.array_equal(store, expected)
    assert not list((tmp_path / "cache").rglob("*.building"))


def test_kill_in_the_middle_leaves_nothing_that_is_taken_for_a_store(tiny, tmp_path):
    knobs = tiny(cache_dir=str(tmp_path / "cache"))
    dataset = urbansound.open_dataset(knobs)
    path = features.store_path(knobs, dataset)
    path.parent.mkdir(parents=True)
    path.with_suffix(".building").write_bytes(b"half")  # what a killed builder leaves
    assert len(features.open_store(knobs, dataset)) == len(dataset.clips)


@pytest.mark.real
def test_real_store_row(real_clips, tmp_path):
    knobs = config.for_run(
        "lite", "cnn14_10", cache_dir=str(tmp_path), data_dir=str(real_clips), allow_partial=True
    )
    dataset = urbansound.open_dataset(knobs)
    few = urbansound.Dataset(dataset.root, dataset.clips[:20].reset_index(drop=True), False, "few", {})
    store = features.open_store(knobs, few)
    assert store.shape == (20, 401, 64)  # lite: 4 s
    assert np.isfinite(store.astype(np.float32)).all()
    assert store.max() > -60
    assert os.path.getsize(features.store_path(knobs, few)) == 128 + 20 * 401 * 64 * 2  # noqa: PTH202
