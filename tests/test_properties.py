"""Properties that hold for any input: the index, the splits, SpecAugment, mixup, the FixMatch loss, the run
record."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from esc_suite.records import runs
from esc_utils import augment, config, losses, urbansound
from esc_utils.errors import UserError

few = settings(max_examples=25, derandomize=True, deadline=None)
more = settings(max_examples=100, derandomize=True, deadline=None)
SUPERVISED, FIXMATCH = (config.for_run("quick", name) for name in ("cnn14_10", "fixmatch_tau075"))


# --- the index and the splits ---------------------------------------------------------------------

Clip = st.tuples(st.integers(1, 30), st.integers(0, 9), st.integers(0, 3))  # recording, class, slice


@st.composite
def listings(draw) -> list[dict]:
    """Rows of the CSV, in any order: each clip once, each recording in one of the ten folds."""
    keys = draw(st.lists(Clip, min_size=1, max_size=12, unique=True))
    folds = draw(st.lists(st.integers(1, 10), min_size=30, max_size=30))
    return [
        {
            "slice_file_name": f"{fsid}-{label}-0-{part}.wav", "fsID": fsid, "start": float(part),
            "end": part + 0.5,
            "salience": 1 + part % 2, "fold": folds[fsid - 1], "classID": label,
            "class": urbansound.CLASSES[label],
        }
        for fsid, label, part in keys
    ]  # fmt: skip


def write_tree(root: Path, rows: list[dict]) -> None:
    """The official layout, with stubs for the clips."""
    (root / "metadata").mkdir()
    pd.DataFrame(rows).to_csv(root / "metadata" / "UrbanSound8K.csv", index=False)
    for row in rows:
        folder = root / "audio" / f"fold{row['fold']}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / Path(row["slice_file_name"]).name).write_bytes(b"x")


@few
@given(rows=listings(), order=st.randoms(use_true_random=False))
def test_index_is_sorted_unique_and_the_same_in_any_order(rows, order):
    shuffled = order.sample(rows, len(rows))
    found = []
    for listed in (rows, shuffled):
        with tempfile.TemporaryDirectory() as folder:
            write_tree(Path(folder), listed)
            found.append(urbansound.load(folder).clips.drop(columns="path"))
    clips = found[0]
    assert clips["file"].is_monotonic_increasing and clips["file"].is_unique
    by_name = {row["slice_file_name"]: row for row in rows}
    assert set(clips["file"]) == set(by_name)
    for clip in clips.itertuples():
        row = by_name[clip.file]
        assert (clip.fsid, clip.class_id, clip.fold) == (row["fsID"], row["classID"], row["fold"])
        assert clip.class_name == urbansound.CLASSES[clip.class_id]
    pd.testing.assert_frame_equal(*found)


CHANGES = {
    "class": st.integers(0, 9).map(urbansound.CLASSES.__getitem__),
    "classID": st.integers(-1, 11),
    "fsID": st.integers(1, 31),
    "fold": st.sampled_from([0, 11, -1, 2.5, None, "one"]),
    "end": st.sampled_from([-1.0, None, "late"]),
    "slice_file_name": st.from_regex(r"[0-9]{1,2}-[0-9]-0-0\.wav|[a-z.]{1,5}", fullmatch=True),
}


@few
@given(rows=listings(), column=st.sampled_from(sorted(CHANGES)), data=st.data())
def test_a_row_that_contradicts_itself_is_refused(rows, column, data):
    row = data.draw(st.sampled_from(rows))
    value = data.draw(CHANGES[column])
    assume(value != row[column])
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder), rows)
        changed = [other | {column: value} if other is row else other for other in rows]
        pd.DataFrame(changed).to_csv(Path(folder) / "metadata" / "UrbanSound8K.csv", index=False)
        with pytest.raises(UserError, match=r"UrbanSound8K\.csv|missing"):
            urbansound.load(folder)


@more
@given(
    rows=listings(), method=st.sampled_from([SUPERVISED, FIXMATCH]), train=st.integers(1, 10),
    valid=st.integers(0, 10), nine=st.booleans(),
)  # fmt: skip
def test_splits_share_no_clip_and_no_recording(rows, method, train, valid, nine):
    assume(valid != train)
    labelled = "all_but_one" if nine and method is SUPERVISED else "one_fold"
    changes = {"train_fold": train, "valid_fold": valid, "labelled": labelled, "labels_per_class": 0}
    knobs = method.model_copy(update=changes)
    columns = {"fsid": "fsID", "fold": "fold", "class_id": "classID"}
    clips = pd.DataFrame({ours: [row[theirs] for row in rows] for ours, theirs in columns.items()})
    dataset = urbansound.Dataset(Path("x"), clips, False, "", {})
    there = set(clips["fold"])
    lacking = not {train, knobs.validation_fold} <= there or (method is FIXMATCH and len(there) < 3)
    if lacking:
        with pytest.raises(UserError, match="fold"):
            urbansound.split(knobs, dataset)
        return
    parts = urbansound.split(knobs, dataset)
    pools = (parts.labelled, parts.validation, parts.unlabelled)
    assert sorted(np.concatenate(pools)) == list(range(len(clips)))
    recordings = [set(clips["fsid"].iloc[rows]) for rows in pools]
    assert sum(map(len, recordings)) == clips["fsid"].nunique()
    assert set(clips["fold"].iloc[parts.validation]) == {knobs.validation_fold} == set(parts.validation_folds)
    if not nine or method is FIXMATCH:
        assert set(parts.labelled_folds) == {train}
    else:
        assert not len(parts.unlabelled)


# --- SpecAugment and mixup ------------------------------------------------------------------------

Width = st.integers(1, 80)
Count = st.integers(0, 3)


@more
@given(
    widths=st.tuples(Width, Count, Width, Count), clips=st.integers(1, 3), frames=st.integers(1, 70),
    mels=st.integers(1, 64), seed=st.integers(0, 2**32),
)  # fmt: skip
def test_specaugment_drops_its_stripes_and_nothing_else(widths, clips, frames, mels, seed):
    law = augment.SpecAugment(*widths)
    generator = torch.Generator().manual_seed(seed)
    masks = law.draw(clips, frames, mels, generator)
    x = torch.randn(clips, 1, frames, mels, generator=generator)
    dropped = torch.zeros(clips, frames, mels, dtype=torch.bool)
    for stripes, limit, number, size, axis in (
        (masks.time, law.time_width, law.time_stripes, frames, 0),
        (masks.freq, law.freq_width, law.freq_stripes, mels, 1),
    ):
        assert stripes.shape == (clips, number, 2)
        start, end = stripes.unbind(-1)
        assert (start >= 0).all() and (end >= start).all() and (end <= size).all()
        assert (end - start < limit).all()
        for clip in range(clips):
            for first, last in stripes[clip].tolist():
                dropped[clip].narrow(axis, first, last - first).fill_(True)
    y = augment.apply(x, masks)
    assert torch.equal(y[:, 0], torch.where(dropped, 0.0, x[:, 0]))
    assert torch.equal(augment.apply(y, masks), y)


@more
@given(pairs=st.integers(1, 5), seed=st.integers(0, 2**32), alpha=st.sampled_from([0.1, 0.75, 1.0, 4.0]))
def test_mixup_lies_between_the_two_of_a_pair(pairs, seed, alpha):
    generator = torch.Generator().manual_seed(seed)
    weights = augment.mixup_weights(pairs, alpha, generator)
    assert weights.shape == (pairs,) and ((weights >= 0) & (weights <= 1)).all()
    x = torch.randn(2 * pairs, 1, 3, 4, generator=generator)
    mixed, (a, b) = augment.mixup(x, weights), (x[0::2], x[1::2])
    assert mixed.shape == a.shape
    slack = 1e-6 * torch.maximum(a.abs(), b.abs())
    assert (mixed >= torch.minimum(a, b) - slack).all() and (mixed <= torch.maximum(a, b) + slack).all()
    w = weights.double().view(-1, 1, 1, 1)
    assert torch.allclose(mixed.double(), w * a.double() + (1 - w) * b.double(), atol=1e-6)
    assert torch.equal(augment.mixup(x, torch.ones(pairs)), a)
    assert torch.equal(augment.mixup(x, torch.zeros(pairs)), b)


# --- the FixMatch loss ----------------------------------------------------------------------------


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


Batch = {"pairs": st.integers(1, 6), "classes": st.integers(2, 10), "scale": st.sampled_from([0.1, 1.0, 5.0,
         30.0]),
         "seed": st.integers(0, 2**32 - 1)}  # fmt: skip


@more
@given(**Batch, tau=st.floats(0, 1), blended=st.booleans())
def test_fixmatch_loss_is_its_formula(pairs, classes, scale, seed, tau, blended):
    """Equations 1 to 3 in float64, clip by clip, with and without mixup."""
    draw = np.random.default_rng(seed)
    n = 2 * pairs
    weak = draw.normal(scale=scale, size=(n, classes)).astype(np.float32)
    strong = draw.normal(scale=scale, size=(pairs if blended else n, classes)).astype(np.float32)
    weights = draw.uniform(size=pairs).astype(np.float32) if blended else None
    y, log_p = softmax(weak.astype(float)), np.log(np.maximum(softmax(strong.astype(float)), 1e-300))
    assume(np.abs(y.max(axis=1) - tau).min() > 1e-6)  # float32 decides otherwise
    mask, label = y.max(axis=1) >= tau, y.argmax(axis=1)
    expected = 0.0
    for clip in range(n):
        share = (weights[clip // 2] if clip % 2 == 0 else 1 - weights[clip // 2]) if blended else 1.0
        expected -= mask[clip] * float(share) * log_p[clip // 2 if blended else clip, label[clip]]
    expected /= len(strong)  # rejected clips count
    found = losses.fixmatch(
        *map(torch.from_numpy, (weak, strong)), tau, None if weights is None else torch.tensor(weights)
    )
    assert found.loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert np.array_equal(found.mask.numpy(), mask) and np.array_equal(found.pseudo_labels.numpy(), label)


@more
@given(**Batch, taus=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_higher_threshold_accepts_no_more_and_above_all_nothing_is_left(pairs, classes, scale, seed, taus):
    generator = torch.Generator().manual_seed(seed)
    weak, strong = (scale * torch.randn(2 * pairs, classes, generator=generator) for _ in range(2))
    strong.requires_grad_()
    low, high = (losses.fixmatch(weak, strong, tau) for tau in sorted(taus))
    assert not (high.mask & ~low.mask).any() and high.loss <= low.loss
    nothing = losses.fixmatch(weak, strong, 1.1)
    assert not nothing.mask.any() and nothing.loss == 0
    nothing.loss.backward()
    assert not strong.grad.any()


# --- the run record -------------------------------------------------------------------------------

Number = st.floats(allow_nan=False, allow_infinity=False)
Plain = st.recursive(
    st.none() | st.booleans() | st.integers() | Number | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
Tree = st.dictionaries(st.text(max_size=8), Plain, max_size=4)
Record = st.fixed_dictionaries(
    {
        "schema_version": st.just(runs.SCHEMA), "experiment": st.text(max_size=8),
        "profile": st.text(max_size=8),
        "fold": st.integers(1, 10), "seed": st.integers(0, 2**63), "synthesised": st.booleans(),
        "backbone": st.text(),
        "stands_in_for_pann": st.booleans(), "labelled_passes": Number,
        "unlabelled_share": st.none() | Number,
        "config": Tree, "validation": Tree, "transductive": st.none() | Tree, "epochs": st.integers(0),
        "steps": st.integers(0), "seconds": Number, "clips_per_second": Number, "provenance": Tree,
    }
)  # fmt: skip


@few
@given(record=Record, epochs=st.integers(1, 6), clips=st.integers(0, 7), data=st.data())
def test_what_goes_into_a_record_comes_out(record, epochs, clips, data):
    column = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=epochs, max_size=epochs)
    history = pd.DataFrame(
        {"epoch": np.arange(1, epochs + 1)} | {name: data.draw(column) for name in ("loss", "mask_rate")}
    )
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    arrays = {
        "valid_file": np.array([f"{i}-ä.wav" for i in range(clips)], dtype=str),
        "valid_label": draw.integers(-(2**62), 2**62, clips),
        "valid_prob": draw.normal(size=(clips, 10)).astype(np.float32),
        "pseudo_confidence": np.where(draw.uniform(size=(epochs, clips)) < 0.3, np.nan, 0.5).astype(
            np.float32
        ),
        "pseudo_label": draw.integers(-1, 10, (epochs, clips)).astype(np.int8),
    }
    with tempfile.TemporaryDirectory() as folder:
        written = runs.write(Path(folder), record, history, arrays)
        for found in (written, runs.read(folder)):
            assert found.metrics == record
            pd.testing.assert_frame_equal(found.history, history.astype(float), check_dtype=False, rtol=1e-7)
            assert set(found.predictions) == set(arrays)
            for name, values in arrays.items():
                assert found.predictions[name].dtype.kind == values.dtype.kind
                assert np.array_equal(found.predictions[name], values, equal_nan=values.dtype.kind == "f")
