"""Scores against scikit-learn, and the pseudo-label audit against counts made by hand and by loops."""

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
    parts = [(np.mean(labels[kept] == c), roc_auc_score(labels[kept] == c, prob[kept, c])) for c in range(10) if c != 6]
    assert result["auc_weighted"] == pytest.approx(100 * sum(w * auc for w, auc in parts))


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


@pytest.fixture
def audit():
    """Two epochs of six clips: classes 0 and 1 of three; clip 5 is not drawn in the first epoch."""
    confidence = np.array([[0.9, 0.8, 0.7, 0.95, 0.3, np.nan], [0.99, 0.2, 0.9, 0.9, 0.9, 0.9]], dtype=np.float16)
    pseudo = np.array([[0, 0, 1, 1, 1, -1], [0, 0, 1, 1, 0, 2]], dtype=np.int8)
    truth = np.array([0, 0, 0, 1, 1, 1])
    recordings = np.array([7, 7, 8, 9, 9, 9])
    return confidence, pseudo, truth, recordings


def test_audit_by_epoch(audit):
    first, second = evaluation.audit_epochs(*audit, tau=0.75).to_dict("records")
    assert first == {
        "epoch": 1,
        "drawn": 5,
        "accepted": 3,
        "right": 3,
        "recordings": 2,
        "classes": 2,
        "coverage": 0.6,
        "accuracy": 1.0,
    }
    assert (second["drawn"], second["accepted"], second["right"], second["recordings"]) == (6, 5, 2, 3)
    nothing = evaluation.audit_epochs(*audit, tau=1.0).iloc[0]
    assert nothing["accepted"] == 0 and np.isnan(nothing["accuracy"])


def test_audit_by_class_and_confusion(audit):
    confidence, pseudo, truth, _ = audit
    table = evaluation.audit_classes(*audit, tau=0.75, class_names=("a", "b", "c")).set_index(["epoch", "class"])
    a, c = table.loc[(2, "a")], table.loc[(2, "c")]
    assert (a["drawn"], a["accepted"], a["named"], a["right"], a["recordings"]) == (3, 2, 2, 1, 2)
    assert (a["recall"], a["precision"]) == (0.5, 0.5)
    assert c["drawn"] == 0 and c["named"] == 1 and c["precision"] == 0 and np.isnan(c["coverage"])
    confusion = evaluation.accepted_confusion(confidence[1], pseudo[1], truth, 0.75, classes=3)
    assert confusion.tolist() == [[1, 1, 0], [1, 1, 1], [0, 0, 0]]
    pooled = evaluation.accepted_confusion(confidence, pseudo, truth, 0.75, classes=3)
    assert pooled.sum() == 8


def test_calibration_against_a_loop():
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.1, 1, 3000)
    right = rng.uniform(size=3000) < confidence**2
    result = evaluation.reliability(confidence, right, bins=10)
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence > low) & (confidence <= low + 0.1)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert result["ece"] == pytest.approx(100 * expected, abs=1e-9)
    assert result["bins"]["clips"].sum() == 3000
    pseudo, truth = right.astype(int), np.ones(3000, int)
    both = evaluation.calibration(confidence, pseudo, truth, tau=0.8)
    assert both["before"]["ece"] > 0 and both["after"]["clips"] == np.sum(np.float32(confidence) >= np.float32(0.8))


def test_calibrated_scores_have_no_calibration_error():
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0, 1, 200_000)
    assert evaluation.reliability(confidence, rng.uniform(size=200_000) < confidence)["ece"] < 1


def test_best_tau_by_right_minus_wrong(audit):
    confidence, pseudo, truth, _ = audit
    result = evaluation.tau_yield(confidence[0], pseudo[0], truth, taus=[0.25, 0.5, 0.75, 0.85])
    # In order of tau: 4 right and 1 wrong, 3 and 1, 3 and 0, 2 and 0; .25 and .75 tie and the higher one wins.
    assert result["table"]["yield"].tolist() == [3, 2, 3, 2]
    assert result["best"]["tau"] == 0.75 and result["best"]["wrong"] == 0
    assert evaluation.tau_yield(np.full(3, np.nan), np.full(3, -1), np.zeros(3))["best"] is None
