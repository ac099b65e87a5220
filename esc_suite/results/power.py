"""What a paired comparison can find at all: least detectable difference, and the recordings or folds that
another takes.

Everywhere: a two-sided t test at 5%, unadjusted, whose power comes from the noncentral t distribution (Cohen
1988, "Statistical Power Analysis for the Behavioral Sciences", section 2.5). Differences and standard errors
are in points.
"""

import numpy as np

from esc_suite.results.intervals import LEVEL

POWER = 0.8


def least_detectable(se: float | None, df: float | None, power: float = POWER) -> float | None:
    """Smallest true difference that a test with this standard error and these degrees of freedom finds with
    `power`.

    None where there is no standard error, or none above 0: then nothing is known of the noise."""
    from scipy import optimize, stats

    if not se or df is None or df < 1:
        return None
    critical = float(stats.t.ppf((1 + LEVEL) / 2, df))

    def short(effect):
        return _found(critical, df, effect) - power

    return float(se * optimize.brentq(short, 0, 20 * critical + 20))


def recordings_needed(
    difference: float, se: float, recordings: int, df: float, power: float = POWER, most: int = 1_000_000
) -> int | None:
    """Recordings at which a paired `difference` would be significant with `power`, when `recordings` of them
    gave the standard error `se` with `df` degrees of freedom: variance falls, and degrees of freedom grow, in
    proportion.

    None for a difference of 0, and for more than `most`. Within half a percent."""
    if difference == 0:
        return None
    counts = _counts(most)
    effect = abs(difference) / (se * np.sqrt(recordings / counts))
    return _first(counts, np.maximum(1.0, df * counts / recordings), effect, power)


def folds_needed(
    difference: float, deviation: float, power: float = POWER, most: int = 100_000
) -> int | None:
    """Folds at which a paired t test over folds would find `difference` with `power`, when the per-fold
    differences have standard deviation `deviation` (independent folds). None for a difference of 0, and for
    more than `most`."""
    if difference == 0:
        return None
    if deviation == 0:
        return 2
    counts = _counts(most)
    return _first(counts, counts - 1, abs(difference) / deviation * np.sqrt(counts), power)


def _counts(most: int) -> np.ndarray:
    return np.unique(np.round(np.geomspace(2, most, 4000)).astype(int))


def _first(counts, df, effect, power: float) -> int | None:
    from scipy import stats

    reached = _found(stats.t.ppf((1 + LEVEL) / 2, df), df, effect) >= power
    return int(counts[reached.argmax()]) if reached.any() else None


def _found(critical, df, effect):
    """Power at this noncentrality; the other tail, below a thousandth where it matters, is left out."""
    from scipy import stats

    # Far above the critical value the noncentral t of SciPy can return NaN, where the power is 1.
    return np.nan_to_num(stats.nct.sf(critical, df, effect), nan=1.0)
