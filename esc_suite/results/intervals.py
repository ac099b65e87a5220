"""How far a score or a difference can be trusted: bootstrap over recordings, intervals and paired tests over
folds.

Clips cut from one recording succeed or fail together, so a fold of 888 clips from 134 recordings carries far
less information than 888 independent clips. Everything here resamples recordings (fsID), never clips. All
scores are percent.
"""

import functools
from typing import NamedTuple

import numpy as np

from esc_utils.errors import UserError

RESAMPLES = 2000
LEVEL = 0.95
LEAST_DF = 4.0  # set by simulation: fewer make intervals much wider, and hold the truth no more often


class Sums(NamedTuple):
    """One run on one fold, added up by recording (G recordings, C classes): all that a resample needs.

    A resample draws recording g n_g times. Its accuracy is n.right / n.size; the wins of class c's
    one-vs-rest AUC (the Mann-Whitney count, ties half) are n' wins[c] n. So 2,000 resamples are two matrix
    products, with no sorting.
    """

    recordings: np.ndarray  # (G,) fsID
    size: np.ndarray  # (G,) clips
    right: np.ndarray  # (G,) clips labelled right; a mean over seeds after `average`
    positives: np.ndarray  # (C, G) clips of each class
    # (C, G, G) pairs (clip of class c in g, other clip in h) that the score of c ranks right
    wins: np.ndarray


@functools.cache
def _blas():
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _one_thread(function):
    """Hold NumPy's matrix library to one thread: for products this small, more of them only wait for each
    other."""

    @functools.wraps(function)
    def held(*args, **kwargs):
        with _blas().limit(limits=1):
            return function(*args, **kwargs)

    return held


@_one_thread
def recording_sums(labels, prob, recordings) -> Sums:
    """Sums of one run on one fold from labels (n,), softmax scores (n, C) and fsIDs (n,)."""
    labels, prob = np.asarray(labels), np.asarray(prob)
    names, group = np.unique(np.asarray(recordings), return_inverse=True)
    count, classes = len(names), prob.shape[1]
    member = np.eye(count, dtype=np.float32)[group]  # (n, G)
    positives = np.stack([member[labels == c].sum(0) for c in range(classes)]).astype(np.float64)
    wins = np.zeros((classes, count, count))
    for c in np.flatnonzero(positives.sum(1)):
        mine, rest = prob[labels == c, c], prob[labels != c, c]
        order = rest.argsort()
        # below[k, h]: clips of recording h among the k lowest of the others; ties count half.
        below = np.concatenate([np.zeros((1, count), np.float32), member[labels != c][order].cumsum(0)])
        beaten = (
            below[rest[order].searchsorted(mine, "left")] + below[rest[order].searchsorted(mine, "right")]
        )
        wins[c] = member[labels == c].T @ beaten / 2
    right = np.bincount(group, prob.argmax(1) == labels, minlength=count)
    return Sums(names, np.bincount(group, minlength=count).astype(float), right, positives, wins)


def average(seeds: list[Sums]) -> Sums:
    """Mean over runs of several seeds on the same clips: both scores are linear in `right` and `wins`."""
    first = seeds[0]
    if any(not _same_clips(first, other) for other in seeds[1:]):
        raise UserError(
            "runs of one fold were validated on different clips: train them again on the same dataset"
        )
    return first._replace(
        right=np.mean([s.right for s in seeds], 0), wins=np.mean([s.wins for s in seeds], 0)
    )


def scores(sums: Sums, metric: str, counts: np.ndarray | None = None) -> np.ndarray:
    """Accuracy or weighted AUC (percent) of each resample: counts (R, G) -> (R,); without counts, of the run
    itself (1,).

    `metric`: "accuracy", "accuracy_by_recording" (each recording weighs the same, as in `evaluation.metrics`)
    or "auc". The AUC is ledger 20's; classes that a resample lacks drop out of it, as in
    `evaluation.metrics`; NaN where fewer than two classes are left.
    """
    counts = np.ones((1, len(sums.size))) if counts is None else counts
    if metric == "accuracy_by_recording":
        return 100 * (counts @ (sums.right / sums.size)) / counts.sum(1)
    clips = counts @ sums.size
    if metric == "accuracy":
        return 100 * (counts @ sums.right) / clips
    total, weight = np.zeros(len(counts)), np.zeros(len(counts))
    for positives, wins in zip(sums.positives, sums.wins, strict=True):
        mine = counts @ positives
        rest = clips - mine
        there = (mine > 0) & (rest > 0)
        won = np.einsum("rg,rg->r", counts @ wins, counts)
        total += np.where(there, won / np.where(there, rest, 1), 0)  # weight mine x AUC won / (mine x rest)
        weight += np.where(there, mine, 0)
    return 100 * total / np.where(weight > 0, weight, np.nan)


def interval(folds: list[Sums], metric: str, resamples: int = RESAMPLES, seed: int = 0) -> dict:
    """95% interval for a score on one fold, or for its mean over several, by bootstrap over recordings.

    Returns estimate, low, high, se (points), df, clips, recordings, folds. Method: standard error over
    resamples, carried to the logit scale by the delta method (so the interval stays within 0 to 100), times
    Student's t. Its degrees of freedom are Satterthwaite's, from the jackknife values of the recordings (in
    the spirit of Bell and McCaffrey 2002 for few and unequal clusters) and at least LEAST_DF: a handful of
    large recordings leaves few. How often it holds the true value: tools/bench/interval_coverage.py. A score
    without any spread has low = high = None, except that an accuracy of 0 or 100 gets Clopper and Pearson's
    bound for as many trials as the recordings are worth by Kish's formula.
    """
    from scipy import stats

    estimate, boot, df = _resampled([folds], metric, resamples, seed)
    clips = sum(f.size.sum() for f in folds)
    result = {"estimate": estimate, "low": None, "high": None, "se": float(np.nanstd(boot, ddof=1)), "df": df}
    result |= {"clips": int(clips), "recordings": sum(len(f.size) for f in folds), "folds": len(folds)}
    if result["se"] > 0:
        share = estimate / 100
        centre, spread = np.log(share / (1 - share)), result["se"] / 100 / (share * (1 - share))
        half = stats.t.ppf((1 + LEVEL) / 2, df) * spread
        result |= {"low": float(_percent(centre - half)), "high": float(_percent(centre + half))}
    elif metric != "auc" and estimate in (0, 100):
        weights = np.concatenate([f.size if metric == "accuracy" else np.ones_like(f.size) for f in folds])
        worth = weights.sum() ** 2 / (weights**2).sum()
        bound = 100 * ((1 - LEVEL) / 2) ** (1 / worth)
        result |= {"low": bound, "high": 100.0} if estimate == 100 else {"low": 0.0, "high": 100 - bound}
    return result


def paired_interval(
    left: list[Sums],
    right: list[Sums],
    metric: str,
    margin: float = 0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict:
    """95% interval for left - right on the same clips, each resample drawing the same recordings for both.

    Returns difference, low, high, p (two-sided, against `margin`), se, df, clips, recordings, folds, test.
    Standard error from the bootstrap, Satterthwaite's t as in `interval`. UserError where the two were
    validated on other clips. Says nothing about how much another training seed would change either run.
    """
    from scipy import stats

    if len(left) != len(right) or any(not _same_clips(a, b) for a, b in zip(left, right, strict=True)):
        raise UserError(
            "the two rows were validated on different clips, so they cannot be paired: train both again"
        )
    estimate, boot, df = _resampled([left, right], metric, resamples, seed)
    se = float(np.nanstd(boot, ddof=1))
    half = stats.t.ppf((1 + LEVEL) / 2, df) * se
    if se > 0:
        p = float(2 * stats.t.sf(abs(estimate - margin) / se, df))
    else:
        p = 1.0 if estimate == margin else 0.0
    return {
        "difference": estimate,
        "low": float(estimate - half),
        "high": float(estimate + half),
        "p": p,
        "se": se,
        "df": df,
        "clips": int(sum(f.size.sum() for f in left)),
        "recordings": sum(len(f.size) for f in left),
        "folds": len(left),
        "test": "paired bootstrap over recordings",
    }


def fold_interval(values) -> tuple[float | None, float | None]:
    """95% t interval for a mean over folds (n,); (None, None) for fewer than two."""
    from scipy import stats

    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return None, None
    half = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def fold_test(differences, margin: float = 0, overlap: float = 0) -> dict:
    """Paired t test over folds: differences (n,) in points, each of two rows on one fold, against `margin`.

    Returns difference, low, high, p, se, df, folds, test, effect_size (Cohen's d_z = (mean - margin) /
    deviation) and wilcoxon_p (signed ranks, Wilcoxon 1945; exact for n up to 50 without ties). `overlap` > 0
    takes the corrected variance (1/n + overlap) s^2 of Nadeau and Bengio 2003, "Inference for the
    Generalization Error", with overlap = validation clips / training clips: folds that share training clips
    are not independent (1/9 for nine folds against one). p and the interval are None for fewer than two
    folds.
    """
    from scipy import stats

    values = np.asarray(differences, dtype=float)
    count, mean = len(values), float(np.mean(values))
    result = {
        "difference": mean,
        "low": None,
        "high": None,
        "p": None,
        "se": None,
        "df": count - 1,
        "folds": count,
    }
    result |= {"effect_size": None, "wilcoxon_p": None}
    result["test"] = "paired t over folds" + (
        ", variance corrected for shared training clips" if overlap else ""
    )
    if count < 2:
        return result
    deviation = float(values.std(ddof=1))
    se = deviation * np.sqrt(1 / count + overlap)
    half = stats.t.ppf((1 + LEVEL) / 2, count - 1) * se
    result |= {"low": float(mean - half), "high": float(mean + half), "se": float(se)}
    if deviation == 0:
        return result | {"p": 1.0 if mean == margin else 0.0, "wilcoxon_p": None}
    signed = values - margin
    result["p"] = float(2 * stats.t.sf(abs(mean - margin) / se, count - 1))
    result["effect_size"] = (mean - margin) / deviation
    result["wilcoxon_p"] = float(stats.wilcoxon(signed).pvalue) if np.any(signed) else 1.0
    return result


def holm(p_values) -> list[float | None]:
    """Adjusted p values of several comparisons in one table (Holm 1979); None stays None and is not
    counted."""
    known = [(p, i) for i, p in enumerate(p_values) if p is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    worst = 0.0
    for rank, (p, i) in enumerate(sorted(known)):
        worst = max(worst, min(1.0, (len(known) - rank) * p))
        adjusted[i] = worst
    return adjusted


@_one_thread
def _resampled(
    rows: list[list[Sums]], metric: str, resamples: int, seed: int
) -> tuple[float, np.ndarray, float]:
    """Score of one row, or first minus second, averaged over folds: (estimate, resamples (R,), degrees of
    freedom)."""
    signs = (1, -1)[: len(rows)]
    rng = np.random.default_rng(seed)
    estimate, boot, values = 0.0, np.zeros(resamples), []
    folds = len(rows[0])
    for fold in zip(*rows, strict=True):
        count = len(fold[0].size)
        draws = rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(float)
        without = 1 - np.eye(count)  # the jackknife's resamples
        left_out = np.zeros(count)
        for sign, sums in zip(signs, fold, strict=True):
            estimate += sign * float(scores(sums, metric)[0])
            boot += sign * scores(sums, metric, draws) / folds
            if count > 1:
                left_out += sign * scores(sums, metric, without) / folds
        values.append(left_out - np.nanmean(left_out))
    return estimate / folds, boot, _freedom(np.concatenate(values))


def _freedom(values: np.ndarray) -> float:
    """Satterthwaite's degrees of freedom of sum(values^2): 2 E^2 / Var, within LEAST_DF and n - 1."""
    squares = np.nan_to_num(values) ** 2
    spread = (squares**2).sum() - squares.sum() ** 2 / len(squares)
    most = max(1.0, len(squares) - 1.0)
    return float(np.clip(2 * squares.sum() ** 2 / spread, min(LEAST_DF, most), most)) if spread > 0 else most


def _same_clips(a: Sums, b: Sums) -> bool:
    return (
        np.array_equal(a.recordings, b.recordings)
        and np.array_equal(a.size, b.size)
        and np.array_equal(a.positives, b.positives)
    )


def _percent(logit):
    return 100 / (1 + np.exp(-logit))
