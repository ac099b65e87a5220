"""Scores against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from esc_utils import evaluation
from esc_utils.errors import UserError
from esc_utils.urbansound import CLASSES


def scores(n=400, classes=10, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    prob = np.exp(logits)
    return labels, (prob / prob.sum(1, keepdims=True)).astype(np.float32)


def test_metrics_equal_scikit_learn():
    labels, prob = scores()
    result = evaluation.metrics(labels, prob)
    exact = prob.astype(np.float64)
    exact /= exact.sum(1, keepdims=True)
    expected = roc_auc_score(labels, exact, multi_class="ovr", average="weighted")
    assert result["auc_weighted"] == pytest.approx(100 * expected, abs=1e-4)
    assert result["accuracy"] == pytest.approx(100 * np.mean(prob.argmax(1) == labels))
    assert result["per_class"]["dog_bark"] == pytest.approx(100 * np.mean(prob.argmax(1)[labels == 3] == 3))
    assert list(result["per_class"]) == list(CLASSES)


def test_metrics_where_a_class_is_missing():
    labels, prob = scores()
    kept = labels != 6
    result = evaluation.metrics(labels[kept], prob[kept])
    assert result["per_class"]["gun_shot"] is None
    parts = [
        (np.mean(labels[kept] == c), roc_auc_score(labels[kept] == c, prob[kept, c]))
        for c in range(10)
        if c != 6
    ]
    assert result["auc_weighted"] == pytest.approx(100 * sum(w * auc for w, auc in parts))


def test_accuracy_by_recording_weighs_every_recording_alike():
    labels, prob = scores(90)
    recordings = np.repeat([7, 3, 5], [79, 10, 1])  # as fold 1's jackhammers: one recording of 79 clips
    right = prob.argmax(1) == labels
    expected = np.mean([right[recordings == fsid].mean() for fsid in (3, 5, 7)])
    found = evaluation.metrics(labels, prob, recordings=recordings)["accuracy_by_recording"]
    assert found == pytest.approx(100 * expected)
    assert "accuracy_by_recording" not in evaluation.metrics(labels, prob)


def test_metrics_of_two_classes_of_one_class_and_of_bad_scores():
    labels, prob = scores(20)
    two = np.arange(20) % 2
    expected = np.mean([roc_auc_score(two == c, prob[:, c]) for c in (0, 1)])
    assert evaluation.metrics(two, prob)["auc_weighted"] == pytest.approx(100 * expected)
    assert evaluation.metrics(np.zeros(20, int), prob)["auc_weighted"] is None
    with pytest.raises(UserError, match="diverged"):
        evaluation.metrics(labels, np.full_like(prob, np.nan))
    with pytest.raises(UserError, match="no clips"):
        evaluation.metrics([], np.zeros((0, 10)))
