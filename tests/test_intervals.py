"""Intervals and tests: the resampled scores against scikit-learn, coverage by simulation, tests against
SciPy."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from esc_suite.results import intervals, power
from esc_utils.errors import UserError
from esc_utils.evaluation import metrics


def fold(rng, recordings=120, classes=3, shift=0.0, tie=False, noise=None):
    """Clips of `recordings` recordings of very unequal size, each of one class, that succeed or fail
    together.

    Sizes are like UrbanSound8K's (1 to 79 clips, most of them few, mean about 6.5). Returns labels, prob,
    fsIDs."""
    size = np.minimum(
        1 + rng.geometric(0.18, recordings) * (1 + 3 * (rng.uniform(size=recordings) < 0.1)), 79
    )
    of = rng.integers(0, classes, recordings)
    group = np.repeat(np.arange(recordings), size)
    labels = of[group]
    own = rng.normal(size=(recordings, classes))[group] if noise is None else noise[group]
    logits = (1.3 + shift) * np.eye(classes)[labels] + own + 0.6 * rng.normal(size=(len(group), classes))
    if tie:
        logits = np.round(logits)
    prob = np.exp(logits)
    return labels, prob / prob.sum(1, keepdims=True), group + 100


def test_the_run_itself_scores_as_scikit_learn_says():
    for tie in (False, True):
        labels, prob, recordings = fold(np.random.default_rng(0), classes=10, tie=tie)
        sums, expected = intervals.recording_sums(labels, prob, recordings), metrics(labels, prob)
        assert intervals.scores(sums, "accuracy")[0] == pytest.approx(expected["accuracy"])
        assert intervals.scores(sums, "auc")[0] == pytest.approx(expected["auc_weighted"])


def test_a_resample_scores_like_the_repeated_clips():
    rng = np.random.default_rng(1)
    labels, prob, recordings = fold(rng, recordings=30, classes=4, tie=True)
    sums = intervals.recording_sums(labels, prob, recordings)
    counts = rng.multinomial(30, np.full(30, 1 / 30), size=5).astype(float)
    for row, accuracy, auc in zip(
        counts, intervals.scores(sums, "accuracy", counts), intervals.scores(sums, "auc", counts), strict=True
    ):
        again = np.repeat(np.arange(len(labels)), row[recordings - 100].astype(int))
        assert accuracy == pytest.approx(100 * np.mean(prob[again].argmax(1) == labels[again]))
        there = np.unique(labels[again])
        expected = roc_auc_score(labels[again, None] == there, prob[again][:, there], average="weighted")
        assert auc == pytest.approx(100 * expected)


@pytest.fixture(scope="module")
def simulation():
    """400 folds from one population whose true scores are known: how often each interval holds them."""
    rng = np.random.default_rng(7)
    labels, prob, _ = fold(rng, recordings=60_000)
    accuracy = 100 * np.mean(prob.argmax(1) == labels)
    auc = 100 * roc_auc_score(labels[:, None] == np.arange(3), prob, average="weighted")
    held = {"accuracy": [], "auc": [], "difference": [], "naive": []}
    for seed in range(400):
        clips = fold(rng)
        sums = intervals.recording_sums(*clips)
        # The other run differs by noise of its own, shared within a recording: the true difference is 0.
        other = intervals.recording_sums(clips[0], _other(rng, clips), clips[2])
        found = intervals.interval([sums], "accuracy", resamples=200, seed=seed)
        held["accuracy"].append(found["low"] <= accuracy <= found["high"])
        found = intervals.interval([sums], "auc", resamples=200, seed=seed)
        held["auc"].append(found["low"] <= auc <= found["high"])
        found = intervals.paired_interval([sums], [other], "accuracy", resamples=200, seed=seed)
        held["difference"].append(found["low"] <= 0 <= found["high"])
        right = clips[1].argmax(1) == clips[0]
        # The clip bootstrap of an accuracy
        naive = 100 * rng.binomial(len(right), right.mean(), 200) / len(right)
        low, high = np.percentile(naive, [2.5, 97.5])
        held["naive"].append(low <= accuracy <= high)
    return {name: 100 * np.mean(hits) for name, hits in held.items()}


def _other(rng, clips):
    """Scores of a second run: the classes' noise swapped for fresh noise of the same law."""
    labels, _, recordings = clips
    count = recordings.max() - 99
    logits = 1.3 * np.eye(3)[labels] + rng.normal(size=(count, 3))[recordings - 100]
    prob = np.exp(logits + 0.6 * rng.normal(size=(len(labels), 3)))
    return prob / prob.sum(1, keepdims=True)


def test_the_recording_bootstrap_covers(simulation):
    for name in ("accuracy", "auc", "difference"):
        assert 93 <= simulation[name] <= 97, simulation


def test_the_naive_clip_bootstrap_does_not_cover(simulation):
    assert simulation["naive"] < 80, simulation


def test_degenerate_scores():
    labels, recordings = np.arange(40) % 4, np.arange(40) // 4
    right = intervals.recording_sums(labels, np.eye(4)[labels], recordings)
    found = intervals.interval([right], "accuracy")
    # All ten recordings of equal size right: Clopper and Pearson's bound for 10 of 10.
    assert found["high"] == 100
    assert found["low"] == pytest.approx(100 * stats.binomtest(10, 10).proportion_ci(0.95).low)
    assert intervals.interval([right], "auc")["low"] is None
    same = intervals.paired_interval([right], [right], "accuracy")
    assert (same["difference"], same["low"], same["high"], same["p"]) == (0, 0, 0, 1)
    single = intervals.recording_sums(labels, np.eye(4)[labels], np.zeros(40))
    assert intervals.interval([single], "accuracy")["df"] == 1


def test_more_recordings_and_seeds_narrow_or_average():
    rng = np.random.default_rng(3)
    few, many = (intervals.recording_sums(*fold(rng, n)) for n in (40, 640))
    widths = [f["high"] - f["low"] for f in (intervals.interval([s], "accuracy") for s in (few, many))]
    assert 2.5 < widths[0] / widths[1] < 6.5  # about sqrt(16)
    labels, prob, recordings = fold(rng, 40)
    first = intervals.recording_sums(labels, prob, recordings)
    second = intervals.recording_sums(labels, prob[::-1], recordings)
    both = intervals.average([first, second])
    for metric in ("accuracy", "auc"):
        expected = (intervals.scores(first, metric)[0] + intervals.scores(second, metric)[0]) / 2
        assert intervals.scores(both, metric)[0] == pytest.approx(expected)
    with pytest.raises(UserError, match="different clips"):
        intervals.paired_interval([first], [many], "accuracy")


def test_paired_interval_is_tighter_than_two_separate_ones():
    rng = np.random.default_rng(4)
    labels, prob, recordings = fold(rng)
    nearly = prob.copy()
    nearly[::40] = np.eye(3)[labels[::40]]  # the other run mends every fortieth clip
    a, b = (intervals.recording_sums(labels, p, recordings) for p in (nearly, prob))
    paired, alone = intervals.paired_interval([a], [b], "accuracy"), intervals.interval([a], "accuracy")
    assert paired["low"] > 0 and paired["p"] < 0.05
    assert paired["high"] - paired["low"] < (alone["high"] - alone["low"]) / 3
    # And well below a margin of 5
    assert intervals.paired_interval([a], [b], "accuracy", margin=5)["p"] < 0.05


def test_fold_tests_equal_scipy_and_the_corrected_one_is_wider():
    values = np.random.default_rng(5).normal(2, 3, 10)
    plain, corrected = intervals.fold_test(values), intervals.fold_test(values, overlap=1 / 9)
    expected = stats.ttest_1samp(values, 0)
    assert plain["p"] == pytest.approx(expected.pvalue)
    assert (plain["low"], plain["high"]) == pytest.approx(tuple(expected.confidence_interval()))
    assert plain["effect_size"] == pytest.approx(values.mean() / values.std(ddof=1))
    assert plain["wilcoxon_p"] == pytest.approx(stats.wilcoxon(values).pvalue)
    assert corrected["se"] / plain["se"] == pytest.approx(np.sqrt((1 / 10 + 1 / 9) / (1 / 10)))
    assert corrected["p"] > plain["p"]
    assert intervals.fold_test(values, margin=2)["p"] == pytest.approx(stats.ttest_1samp(values, 2).pvalue)
    assert intervals.fold_test([1.0])["p"] is None and intervals.fold_interval([1.0]) == (None, None)
    assert intervals.fold_interval(values) == pytest.approx((plain["low"], plain["high"]))


def test_holm_by_hand():
    assert intervals.holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert intervals.holm([0.6, 0.7]) == [1.0, 1.0]
    assert intervals.holm([]) == []


def test_accuracy_by_recording_and_its_resamples():
    rng = np.random.default_rng(8)
    labels, prob, recordings = fold(rng, recordings=30, classes=4)
    sums, expected = (
        intervals.recording_sums(labels, prob, recordings),
        metrics(labels, prob, recordings=recordings),
    )
    assert intervals.scores(sums, "accuracy_by_recording")[0] == pytest.approx(
        expected["accuracy_by_recording"]
    )
    counts = rng.multinomial(30, np.full(30, 1 / 30), size=3).astype(float)
    right = [np.mean((prob.argmax(1) == labels)[recordings == r]) for r in sums.recordings]
    again = intervals.scores(sums, "accuracy_by_recording", counts)
    assert again == pytest.approx([100 * np.average(right, weights=row) for row in counts])
    found = intervals.interval([sums], "accuracy_by_recording")
    assert found["low"] < found["estimate"] < found["high"]


def simulated_power(effect, n):
    rng = np.random.default_rng(6)
    return np.mean(stats.ttest_1samp(rng.normal(effect, 3, (20_000, n)), 0, axis=1).pvalue < 0.05)


def test_what_it_would_take():
    # 80% power: simulated with the number of folds that is said, and with two fewer.
    needed = power.folds_needed(2.0, 3.0)
    assert simulated_power(2, needed) >= 0.79 and simulated_power(2, needed - 2) < 0.8
    assert power.folds_needed(5.0, 0.0) == 2 and power.folds_needed(0.0, 1.0) is None
    # Recordings of equal size are like folds: n of them have n - 1 degrees of freedom.
    assert power.recordings_needed(2.0, 3 / np.sqrt(40), 40, 39) == pytest.approx(needed, abs=1)
    # Few degrees of freedom take more than the normal law says, many as much: half the difference, four times
    # as many.
    assert power.recordings_needed(2.80158, 1.0, 134, 4) > 150
    assert power.recordings_needed(2.80158, 1.0, 134_000, 133_999) == pytest.approx(134_000, rel=0.01)
    assert power.recordings_needed(2.80158 / 2, 1.0, 134, 133) == pytest.approx(4 * 135, rel=0.01)
    assert (
        power.recordings_needed(0.001, 5.0, 134, 20) is None
        and power.recordings_needed(0.0, 1.0, 134, 20) is None
    )


def test_least_detectable_difference():
    for n in (2, 5, 40):
        least = power.least_detectable(3 / np.sqrt(n), n - 1)
        assert simulated_power(least, n) == pytest.approx(0.8, abs=0.015)
    assert power.least_detectable(1.0, 100_000) == pytest.approx(2.8016, abs=0.001)
    assert power.least_detectable(0.0, 9) is None and power.least_detectable(None, None) is None
