"""Audit of the pseudo-labels a FixMatch run accepted, against the labels hidden from it. Arrays in,
DataFrames out.

Everywhere: `confidence` and `pseudo` are (epochs, m), the weak view's largest softmax score and its class
when the clip was drawn in that epoch, NaN and -1 where it was not; `truth` and `recordings` (m,) are the
hidden labels and fsIDs.
"""

import numpy as np

from esc_utils.losses import accepted
from esc_utils.urbansound import CLASSES


def audit_epochs(confidence, pseudo, truth, recordings, tau: float):
    """One row per epoch: drawn, accepted, right (clips), recordings, coverage and accuracy (fractions),
    classes.

    `recordings` counts the distinct fsIDs behind the accepted clips: slices of one recording are not
    independent, so it tells how much evidence there is. `classes` counts the pseudo-classes with at least one
    accepted clip. `accuracy` is NaN in an epoch that accepts nothing.
    """
    import pandas as pd

    pseudo, truth, recordings = np.asarray(pseudo), np.asarray(truth), np.asarray(recordings)
    taken = accepted(np.asarray(confidence, dtype=np.float32), tau)
    rows = []
    for epoch, (mask, label) in enumerate(zip(taken, pseudo, strict=True), start=1):
        drawn, right = int((label >= 0).sum()), int((label == truth)[mask].sum())
        rows.append(
            {
                "epoch": epoch,
                "drawn": drawn,
                "accepted": int(mask.sum()),
                "right": right,
                "recordings": len(np.unique(recordings[mask])),
                "classes": len(np.unique(label[mask])),
                "coverage": share(mask.sum(), drawn),
                "accuracy": share(right, mask.sum()),
            }
        )
    return pd.DataFrame(rows)


def audit_classes(confidence, pseudo, truth, recordings, tau: float, class_names=CLASSES):
    """One row per epoch and class, with the class seen from both sides (fractions, NaN where nothing to
    divide by).

    True class: `drawn` clips of it, `accepted` among them, `coverage` = accepted / drawn, `recall` = share of
    those accepted that got the right label, `recordings` behind them. Pseudo-class: `named` clips accepted
    under its name, `precision` = share of them that belong there.
    """
    import pandas as pd

    pseudo, truth, recordings = np.asarray(pseudo), np.asarray(truth), np.asarray(recordings)
    taken = accepted(np.asarray(confidence, dtype=np.float32), tau)
    rows = []
    for epoch, (mask, label) in enumerate(zip(taken, pseudo, strict=True), start=1):
        for c, name in enumerate(class_names):
            true, named = truth == c, mask & (label == c)
            of_class, right = mask & true, int((named & true).sum())
            drawn = int((true & (label >= 0)).sum())
            rows.append(
                {
                    "epoch": epoch,
                    "class": name,
                    "drawn": drawn,
                    "accepted": int(of_class.sum()),
                    "named": int(named.sum()),
                    "right": right,
                    "recordings": len(np.unique(recordings[of_class])),
                    "coverage": share(of_class.sum(), drawn),
                    "recall": share(right, of_class.sum()),
                    "precision": share(right, named.sum()),
                }
            )
    return pd.DataFrame(rows)


def share(part, whole) -> float:
    """part / whole, NaN where there is nothing."""
    return float(part) / float(whole) if whole else float("nan")


def accepted_confusion(confidence, pseudo, truth, tau: float, classes: int = len(CLASSES)) -> np.ndarray:
    """(C, C) counts of accepted draws, true class by row, pseudo-label by column.

    Takes one epoch's (m,) arrays or several epochs' (epochs, m), which are added up.
    """
    mask, pseudo = (
        np.atleast_2d(accepted(np.asarray(confidence, dtype=np.float32), tau)),
        np.atleast_2d(pseudo),
    )
    true = np.broadcast_to(np.asarray(truth), pseudo.shape)
    counts = np.bincount(true[mask].astype(np.int64) * classes + pseudo[mask], minlength=classes**2)
    return counts.reshape(classes, classes)


def reliability(confidence, right, bins: int = 15) -> dict:
    """Reliability diagram and expected calibration error: {"bins": DataFrame, "ece": percent or None,
    "clips": n}.

    Equal-width bins over 0..1, ECE = sum of n_b / n * |accuracy_b - mean confidence_b| (Guo et al. 2017,
    "On Calibration of Modern Neural Networks", equation 3). Draws with NaN confidence are left out.
    """
    import pandas as pd

    confidence, right = (
        np.asarray(confidence, dtype=np.float64).ravel(),
        np.asarray(right, dtype=bool).ravel(),
    )
    drawn = ~np.isnan(confidence)
    confidence, right = confidence[drawn], right[drawn]
    edges = np.linspace(0, 1, bins + 1)
    # Closed on the right, as in the source, so that a confidence of exactly 1 falls into the last bin.
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    clips = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(index, confidence, minlength=bins) / clips
        accuracy = np.bincount(index, right, minlength=bins) / clips
    frame = pd.DataFrame(
        {"low": edges[:-1], "high": edges[1:], "clips": clips, "confidence": mean, "accuracy": accuracy}
    )
    total = int(clips.sum())
    gap = float(np.nansum(clips * np.abs(accuracy - mean))) / total * 100 if total else None
    return {"bins": frame, "ece": gap, "clips": total}


def calibration(confidence, pseudo, truth, tau: float, bins: int = 15) -> dict:
    """Calibration before and after the threshold: {"before": reliability(all drawn), "after":
    reliability(accepted)}.

    Takes one epoch's (m,) arrays or several epochs' (epochs, m), pooled.
    """
    confidence, right = np.asarray(confidence, dtype=np.float64), np.asarray(pseudo) == np.asarray(truth)
    after = np.where(accepted(np.asarray(confidence, dtype=np.float32), tau), confidence, np.nan)
    return {"before": reliability(confidence, right, bins), "after": reliability(after, right, bins)}


def tau_yield(confidence, pseudo, truth, taus=None) -> dict:
    """What each threshold would have taken in: {"table": DataFrame, "best": its best row as a dict, or None}.

    Yield = right - wrong among the accepted: a wrong label undoes a right one, so taking clips pays as long
    as more than half of those added are right. The best tau has the largest yield; among equals the highest,
    which accepts the fewest wrong ones. `taus` defaults to 0.10 to 0.99 by 0.01. Takes (m,) or (epochs, m),
    pooled. Hindsight, from the stored confidences: with another tau the training itself would have gone
    another way.
    """
    import pandas as pd

    taus = np.round(np.arange(10, 100) / 100, 2) if taus is None else np.asarray(taus, dtype=np.float64)
    confidence = np.asarray(confidence, dtype=np.float32)
    drawn, right = ~np.isnan(confidence), np.asarray(pseudo) == np.asarray(truth)
    right_sorted, all_sorted = np.sort(confidence[drawn & right]), np.sort(confidence[drawn])
    total = len(all_sorted)
    # Number of values >= tau, for all taus at once.
    taken = total - np.searchsorted(all_sorted, taus.astype(np.float32), side="left")
    good = len(right_sorted) - np.searchsorted(right_sorted, taus.astype(np.float32), side="left")
    wrong = taken - good
    table = pd.DataFrame(
        {"tau": taus, "accepted": taken, "right": good, "wrong": wrong, "yield": good - wrong}
    )
    table["coverage"] = table["accepted"] / total if total else np.nan
    table["accuracy"] = table["right"] / table["accepted"].where(table["accepted"] > 0)
    if not total:
        return {"table": table, "best": None}
    best = table[table["yield"] == table["yield"].max()]
    return {"table": table, "best": best.loc[best["tau"].idxmax()].to_dict()}


def last_epoch(confidence, pseudo, truth, recordings, tau: float, classes=CLASSES) -> dict:
    """The audit of a run's last epoch in one row: accepted and right clips, recordings behind the accepted,
    expected calibration error before and after the threshold (points), the tau of best yield, classes never
    accepted."""
    confidence, pseudo = np.asarray(confidence)[-1:], np.asarray(pseudo)[-1:]
    row = audit_epochs(confidence, pseudo, truth, recordings, tau).iloc[0]
    ece = {when: part["ece"] for when, part in calibration(confidence, pseudo, truth, tau).items()}
    best = tau_yield(confidence, pseudo, truth)["best"]
    by_class = audit_classes(confidence, pseudo, truth, recordings, tau, classes)
    return {
        "drawn": int(row["drawn"]),
        "accepted": int(row["accepted"]),
        "right": int(row["right"]),
        "recordings": int(row["recordings"]),
        "ece_before": ece["before"],
        "ece_after": ece["after"],
        "best_tau": best["tau"] if best else None,
        "never_accepted": list(by_class.loc[(by_class["drawn"] > 0) & (by_class["accepted"] == 0), "class"]),
    }
