"""The pseudo-label audit against counts made by hand and by loops."""

import numpy as np
import pytest

from esc_suite.results import audit


@pytest.fixture
def run():
    """Two epochs of six clips: classes 0 and 1 of three; clip 5 is not drawn in the first epoch."""
    confidence = np.array(
        [[0.9, 0.8, 0.7, 0.95, 0.3, np.nan], [0.99, 0.2, 0.9, 0.9, 0.9, 0.9]], dtype=np.float16
    )
    pseudo = np.array([[0, 0, 1, 1, 1, -1], [0, 0, 1, 1, 0, 2]], dtype=np.int8)
    truth = np.array([0, 0, 0, 1, 1, 1])
    recordings = np.array([7, 7, 8, 9, 9, 9])
    return confidence, pseudo, truth, recordings


def test_audit_by_epoch(run):
    first, second = audit.audit_epochs(*run, tau=0.75).to_dict("records")
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
    nothing = audit.audit_epochs(*run, tau=1.0).iloc[0]
    assert nothing["accepted"] == 0 and np.isnan(nothing["accuracy"])


def test_audit_by_class_and_confusion(run):
    confidence, pseudo, truth, _ = run
    table = audit.audit_classes(*run, tau=0.75, class_names=("a", "b", "c")).set_index(["epoch", "class"])
    a, c = table.loc[(2, "a")], table.loc[(2, "c")]
    assert (a["drawn"], a["accepted"], a["named"], a["right"], a["recordings"]) == (3, 2, 2, 1, 2)
    assert (a["recall"], a["precision"]) == (0.5, 0.5)
    assert c["drawn"] == 0 and c["named"] == 1 and c["precision"] == 0 and np.isnan(c["coverage"])
    confusion = audit.accepted_confusion(confidence[1], pseudo[1], truth, 0.75, classes=3)
    assert confusion.tolist() == [[1, 1, 0], [1, 1, 1], [0, 0, 0]]
    pooled = audit.accepted_confusion(confidence, pseudo, truth, 0.75, classes=3)
    assert pooled.sum() == 8


def test_calibration_against_a_loop():
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.1, 1, 3000)
    right = rng.uniform(size=3000) < confidence**2
    result = audit.reliability(confidence, right, bins=10)
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence > low) & (confidence <= low + 0.1)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert result["ece"] == pytest.approx(100 * expected, abs=1e-9)
    assert result["bins"]["clips"].sum() == 3000
    pseudo, truth = right.astype(int), np.ones(3000, int)
    both = audit.calibration(confidence, pseudo, truth, tau=0.8)
    assert both["before"]["ece"] > 0 and both["after"]["clips"] == np.sum(
        np.float32(confidence) >= np.float32(0.8)
    )


def test_calibrated_scores_have_no_calibration_error():
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0, 1, 200_000)
    assert audit.reliability(confidence, rng.uniform(size=200_000) < confidence)["ece"] < 1


def test_best_tau_by_right_minus_wrong(run):
    confidence, pseudo, truth, _ = run
    result = audit.tau_yield(confidence[0], pseudo[0], truth, taus=[0.25, 0.5, 0.75, 0.85])
    # In order of tau: 4 right and 1 wrong, 3 and 1, 3 and 0, 2 and 0; .25 and .75 tie and the higher one
    # wins.
    assert result["table"]["yield"].tolist() == [3, 2, 3, 2]
    assert result["best"]["tau"] == 0.75 and result["best"]["wrong"] == 0
    assert audit.tau_yield(np.full(3, np.nan), np.full(3, -1), np.zeros(3))["best"] is None


def test_last_epoch_in_one_row():
    confidence = np.array([[0.5, 0.5, 0.5, 0.5], [0.99, 0.97, 0.6, np.nan]], np.float32)
    pseudo = np.array([[0, 0, 0, 0], [0, 1, 1, -1]])
    found = audit.last_epoch(confidence, pseudo, np.array([0, 2, 1, 3]), np.array([7, 7, 8, 9]), 0.95)
    assert (found["drawn"], found["accepted"], found["right"], found["recordings"]) == (3, 2, 1, 1)
    assert found["never_accepted"] == ["car_horn"]  # class 1 was drawn and rejected; class 3 was not drawn
    # One right alone: as good as two right and one wrong at .6
    assert found["best_tau"] == pytest.approx(0.99)
    assert found["ece_after"] == pytest.approx(100 * abs(0.5 - 0.98), abs=0.1)
