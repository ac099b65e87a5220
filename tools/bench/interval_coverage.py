"""How often the 95% intervals of results/intervals hold a known truth: python
tools/bench/interval_coverage.py [folds]

Simulated folds of clips that succeed or fail together within a recording; the truth is the score of a huge
sample.
"""

import sys

import numpy as np
from sklearn.metrics import roc_auc_score

from esc_suite.results import intervals

RESAMPLES = 300


def urbansound_sizes(rng, count):
    """Clips per recording, as unequal as in UrbanSound8K: 1 to 79, most of them few, mean about 6.5."""
    return np.minimum(1 + rng.geometric(0.18, count) * (1 + 3 * (rng.uniform(size=count) < 0.1)), 79)


def small_sizes(rng, count):
    """As in the embedded default: 1 to 6."""
    return rng.integers(1, 7, count)


def fold(rng, recordings, classes, signal, sizes):
    """labels (n,), softmax scores (n, classes), recordings (n,): a noise shared within a recording, and one a
    clip."""
    of = rng.permutation(np.arange(recordings) % classes)
    group = np.repeat(np.arange(recordings), sizes(rng, recordings))
    labels = of[group]
    shared = rng.normal(size=(recordings, classes))[group]
    logits = signal * np.eye(classes)[labels] + shared + 0.6 * rng.normal(size=(len(group), classes))
    prob = np.exp(logits)
    return labels, prob / prob.sum(1, keepdims=True), group


def coverage(recordings, classes, signal, sizes, folds, seed=0):
    """{metric: (share of folds whose interval holds the truth in percent, median width in points)}"""
    rng = np.random.default_rng(seed)
    labels, prob, _ = fold(rng, 60_000, classes, signal, sizes)
    truth = {
        "accuracy": 100 * np.mean(prob.argmax(1) == labels),
        "auc": 100 * roc_auc_score(labels[:, None] == np.arange(classes), prob, average="weighted"),
    }
    held, width = {name: [] for name in truth}, {name: [] for name in truth}
    for number in range(folds):
        sums = intervals.recording_sums(*fold(rng, recordings, classes, signal, sizes))
        for name, value in truth.items():
            found = intervals.interval([sums], name, RESAMPLES, number)
            if found["low"] is not None:
                held[name].append(found["low"] <= value <= found["high"])
                width[name].append(found["high"] - found["low"])
    return {name: (100 * np.mean(held[name]), np.median(width[name])) for name in truth}


def main() -> None:
    folds = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print(
        f"{folds} folds each; standard error of a coverage near 95%: {100 * np.sqrt(0.05 * 0.95 / folds):.1f}"
    )
    print("recordings  classes  sizes        accuracy held (width)   AUC held (width)")
    for recordings, classes, signal, sizes in (
        (22, 10, 2.5, small_sizes), (40, 10, 1.3, urbansound_sizes), (120, 10, 1.3, urbansound_sizes),
        (120, 10, 2.5, urbansound_sizes), (120, 3, 1.3, urbansound_sizes),
    ):  # fmt: skip
        found = coverage(recordings, classes, signal, sizes, folds)
        words = [f"{found[name][0]:.1f}% ({found[name][1]:.1f})" for name in ("accuracy", "auc")]
        print(
            f"{recordings:10}  {classes:7}  {sizes.__name__.removesuffix('_sizes'):11}  {words[0]:22}  "
            f"{words[1]}",
            flush=True,
        )


if __name__ == "__main__":
    main()
