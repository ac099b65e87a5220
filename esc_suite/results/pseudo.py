"""Counting stored pseudo-labels: what was accepted, when, and whether it was right. Arrays in, arrays out.

Everywhere: confidence (epochs, clips), NaN where a clip was not drawn; pseudo (epochs, clips), -1 where not
drawn; labels (clips,) hidden from training; tau the threshold. Tables of the same audit are made in `audit`.
"""

import numpy as np

from esc_utils.losses import accepted

RIGHT, WRONG, REJECTED, NOT_DRAWN = range(4)


def states(confidence, pseudo, labels, tau) -> np.ndarray:
    """State of every pseudo-label, (epochs, clips) int8: RIGHT, WRONG (accepted), REJECTED or NOT_DRAWN."""
    confidence, pseudo = np.atleast_2d(np.asarray(confidence)), np.atleast_2d(np.asarray(pseudo))
    right = pseudo == np.asarray(labels)[None, :]
    state = np.where(accepted(confidence, tau), np.where(right, RIGHT, WRONG), REJECTED)
    return np.where(np.isnan(confidence) | (pseudo < 0), NOT_DRAWN, state).astype(np.int8)


def weights(run) -> np.ndarray:
    """The weight (epochs, clips) that each pseudo-label of a FixMatch run had in L_u, NaN where a clip was
    not drawn: 1 or 0 by the threshold, or what a run that has more than tau has stored. It may stand in place
    of a confidence, with 0.5 as tau, wherever labels are counted or drawn."""
    confidence = run.predictions["pseudo_confidence"]
    weight = run.predictions.get("pseudo_weight", accepted(confidence, run.metrics["config"]["tau"]))
    return np.where(np.isnan(confidence), np.nan, weight)


def shares(state, axis=1) -> dict[str, np.ndarray]:
    """Shares (0..1) along `axis` of `states`: of the drawn clips `accepted` (the mask rate) and accepted and
    `right`, and `accuracy` of the accepted ones (NaN where none is)."""
    state = np.asarray(state)
    right, wrong = np.sum(state == RIGHT, axis=axis), np.sum(state == WRONG, axis=axis)
    drawn = np.sum(state != NOT_DRAWN, axis=axis)
    return {
        "accepted": _ratio(right + wrong, drawn),
        "right": _ratio(right, drawn),
        "accuracy": _ratio(right, right + wrong),
    }


def _ratio(part, whole):
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def latest(confidence, pseudo) -> tuple[np.ndarray, np.ndarray]:
    """In every epoch each clip's latest confidence and pseudo-label, drawn in that epoch or an earlier one:
    two (epochs, clips) arrays, in which only clips that no epoch has drawn yet are not drawn."""
    confidence, pseudo = np.atleast_2d(np.asarray(confidence)), np.atleast_2d(np.asarray(pseudo))
    drawn = ~np.isnan(confidence) & (pseudo >= 0)
    epoch = np.maximum.accumulate(np.where(drawn, np.arange(len(drawn))[:, None], 0), axis=0)
    clips = np.arange(confidence.shape[1])
    return confidence[epoch, clips], pseudo[epoch, clips]


def recordings_of_accepted(state, labels, recordings, classes: int) -> list[tuple[int, int]]:
    """Per class: recordings that at least one accepted pseudo-label ever came from, and recordings there
    are."""
    labels, recordings = np.asarray(labels), np.asarray(recordings)
    ever = np.any((state == RIGHT) | (state == WRONG), axis=0)
    return [
        (len(np.unique(recordings[ever & (labels == c)])), len(np.unique(recordings[labels == c])))
        for c in range(classes)
    ]


def both_kinds(confidence, tau: float, count: int = 4) -> np.ndarray:
    """Positions of `count` clips, accepted and rejected by turns, evenly spaced in their order of confidence;
    where one kind is too few, more of the other. confidence: (clips,)."""
    confidence = np.asarray(confidence, dtype=float)
    order = np.argsort(-confidence, kind="stable")
    kinds = [order[accepted(confidence[order], tau)], order[~accepted(confidence[order], tau)]]
    shares = [count - count // 2, count // 2]
    for own, other in ((0, 1), (1, 0)):
        short = max(0, shares[own] - len(kinds[own]))
        shares[own], shares[other] = shares[own] - short, shares[other] + short
    wanted = [(kind, min(n, len(kind))) for kind, n in zip(kinds, shares, strict=True)]
    picked = [kind[np.linspace(0, len(kind) - 1, n).round().astype(int)] for kind, n in wanted if n]
    turns = sorted((at, which) for which, kind in enumerate(picked) for at in range(len(kind)))
    return np.array([picked[which][at] for at, which in turns], dtype=int)
