"""The finished runs of a profile, and the comparison of two rows: what tables and claims are made of."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from esc_suite.records import runs
from esc_suite.results import intervals, power
from esc_utils.errors import UserError
from esc_utils.urbansound import CLIPS

SYNTHESISED = "synthesised audio"
REAL, OWN = "UrbanSound8K", "your own clips"
BY_RECORDING = "accuracy_by_recording"


@dataclass
class Results:
    """Finished runs by experiment, fold and seed, with the sums over recordings made from them on demand."""

    found: dict[str, dict[int, dict[int, runs.Run]]] = field(default_factory=dict)
    sums: dict[tuple[str, int, int | None], intervals.Sums] = field(default_factory=dict)
    pairs: dict[tuple, dict] = field(default_factory=dict)  # what `compare` has found

    def folds(self, experiment: str | None, wanted=None) -> list[int]:
        """Training folds that this experiment has runs of, in order, out of those wanted."""
        there = self.found.get(experiment, {})
        return [fold for fold in sorted(there) if wanted is None or fold in wanted]

    def runs(self, experiment: str, folds) -> list[runs.Run]:
        """Runs of these folds, by fold and seed."""
        return [run for fold in folds for _, run in sorted(self.found[experiment][fold].items())]

    def fold_sums(self, experiment: str, fold: int, seed: int | None = None) -> intervals.Sums:
        """Sums over recordings of one run's validation clips (last epoch), or averaged over the seeds of its
        fold."""
        key = experiment, fold, seed
        if key not in self.sums:
            if seed is None:
                every = [self.fold_sums(experiment, fold, s) for s in sorted(self.found[experiment][fold])]
                self.sums[key] = intervals.average(every) if len(every) > 1 else every[0]
            else:
                arrays = self.found[experiment][fold][seed].predictions
                names = ("valid_label", "valid_prob", "valid_recording")
                self.sums[key] = intervals.recording_sums(*(arrays[name] for name in names))
        return self.sums[key]


def read_results(outputs: Path | str, profile: str) -> Results:
    """All finished runs of a profile; UserError where a record is damaged, or names another run than its
    folder does."""
    results = Results()
    for path in run_folders(outputs, profile):
        add(results, runs.read(path))
    return results


def run_folders(outputs: Path | str, profile: str, experiment: str = "*") -> list[Path]:
    """Folders of all finished runs of a profile, sorted by experiment, fold and seed."""
    found = (Path(outputs) / profile / "runs").glob(f"{experiment}/fold*_seed*/metrics.json")
    return sorted((file.parent for file in found), key=_order)


def _order(path: Path) -> tuple:
    named = re.fullmatch(r"fold(\d+)_seed(\d+)", path.name)
    if not named:
        raise UserError(f"run folder {path} is not named fold<k>_seed<s>: rename it, or move it out of runs/")
    return path.parent.name, *map(int, named.groups())


def add(results: Results, run: runs.Run) -> None:
    """Take one run in."""
    metrics = run.metrics
    if (
        run.folder.name != f"fold{metrics['fold']}_seed{metrics['seed']}"
        or run.folder.parent.name != metrics["experiment"]
    ):
        raise UserError(
            f"run record {run.folder} was written for {run.name}: do not rename run folders, train again"
        )
    results.pairs.clear()
    results.found.setdefault(metrics["experiment"], {}).setdefault(metrics["fold"], {})[metrics["seed"]] = run


def network_name(run: runs.Run) -> str:
    """The network of a run in words, e.g. "CNN14 of width 8, random start" or "EfficientAT mn04
    (AudioSet)"."""
    metrics, config = run.metrics, run.metrics["config"]
    name = metrics["backbone"]
    if name == "random start":
        return (
            f"CNN14 of width {config['width']}, random start"
            if config.get("width", 64) != 64
            else "CNN14, random start"
        )
    return name


def p_words(p: float) -> str:
    """A p value to read: "p = 0.023", "p < 0.0001"."""
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"


def stands_in(run: runs.Run) -> bool:
    """Whether this pretrained run uses another backbone than PANN's."""
    return run.metrics["stands_in_for_pann"]


def as_the_paper(run: runs.Run) -> bool:
    """Whether a run is what the paper is about: UrbanSound8K whole, and PANN's own weights or CNN14 at full
    width."""
    metrics = run.metrics
    theirs = metrics["config"].get("dataset", "urbansound8k") == "urbansound8k"
    whole = (
        theirs
        and not metrics["synthesised"]
        and not sum(metrics["provenance"].get("dataset_missing", {}).values())
    )
    return whole and not stands_in(run) and metrics["config"].get("width", 64) == 64


def row_name(label: str, run: runs.Run) -> str:
    """The printed label, with another network's name where PANN's weights or CNN14's full width were not
    used."""
    if stands_in(run):
        # The note has the name in full.
        name = network_name(run).removesuffix(" pretrained on synthesised audio")
        return (
            f"{label.replace('PANN', name)} [in place of PANN]"
            if "PANN" in label
            else f"{label} [{name} in place of PANN]"
        )
    width = run.metrics["config"].get("width", 64)
    return f"{label} [width {width}, not 64]" if width != 64 else label


def short_name(name: str) -> str:
    """A row's name where there is little room: a dagger for what stands in PANN's place, a double one for a
    narrow CNN14.

    `row_name`'s long form stays in the CSV files; `daggers` explains the marks."""
    mark = " \u2020" if "in place of PANN]" in name else " \u2021" if name.endswith(", not 64]") else ""
    name = re.sub(r" \[[^\]]*(in place of PANN|not 64)\]$", "", name).removesuffix(" (not in the paper)")
    name = re.sub(r"\bEfficientAT (\w+) \(AudioSet\)", r"\1", name).replace(
        ", control of FixMatch", ", control"
    )
    return re.sub(r"^-- ", "\u2013 ", name) + mark


def daggers(rows) -> list[str]:
    """What the daggers of these rows (dicts with row and, if known, network) stand for, in words."""
    rows = list(rows)
    stand_ins = dict.fromkeys(
        row.get("network") or "" for row in rows if short_name(row["row"]).endswith("\u2020")
    )
    narrow = dict.fromkeys(re.findall(r"\[(width \d+, not 64)\]", " ".join(row["row"] for row in rows)))
    words = (
        [f"\u2020 {'; '.join(filter(None, stand_ins)) or 'another network'} in place of PANN"]
        if stand_ins
        else []
    )
    return words + ([f"\u2021 CNN14 of {'; '.join(narrow)}"] if narrow else [])


def data_label(found: list[runs.Run]) -> str:
    """What audio the numbers of these runs are about."""

    def of(metrics: dict) -> str:
        real = OWN if metrics["config"].get("dataset") == "table" else REAL
        return SYNTHESISED if metrics["synthesised"] else real

    return "; ".join(dict.fromkeys(of(run.metrics) for run in found))


def means(results: Results, experiment: str, folds, metric: str) -> list[float]:
    """Score (percent) of each fold, averaged over its seeds."""
    return [float(intervals.scores(results.fold_sums(experiment, fold), metric)[0]) for fold in folds]


def seed_scores(results: Results, experiment: str, folds, metric: str) -> list[float]:
    """Score (percent) of each seed that all these folds have, averaged over the folds."""
    shared = set.intersection(*(set(results.found[experiment][fold]) for fold in folds)) if folds else set()
    return [
        float(np.mean([intervals.scores(results.fold_sums(experiment, f, seed), metric)[0] for f in folds]))
        for seed in sorted(shared)
    ]


def compare(results: Results, left: str, right: str, folds, metric: str, margin: float = 0) -> dict:
    """left - right in points on the folds that both have, out of `folds`: as `intervals.paired_interval` on
    one fold, as `intervals.fold_test` on more, plus `fold_list`, `missing`, clips, recordings, `deviation`
    (of the folds' differences), `by_recording` (the difference in accuracy by recording) and the interval
    over seeds (see `seed_difference`). difference is None where they share no fold. `margin` is signed, in
    points.
    """
    key = left, right, tuple(folds), metric, margin
    if key not in results.pairs:
        results.pairs[key] = _compare(results, left, right, folds, metric, margin)
    return dict(results.pairs[key])


def _compare(results: Results, left: str, right: str, folds, metric: str, margin: float) -> dict:
    shared = [f for f in results.folds(left, folds) if f in results.folds(right, folds)]
    frame = {"fold_list": shared, "missing": [f for f in folds if f not in shared], "difference": None}
    frame |= {"deviation": None, "by_recording": None} | seed_difference(results, left, right, shared, metric)
    if not shared:
        return frame
    by_recording = [np.mean(means(results, name, shared, BY_RECORDING)) for name in (left, right)]
    frame["by_recording"] = float(by_recording[0] - by_recording[1])
    rows = [[results.fold_sums(name, fold) for fold in shared] for name in (left, right)]
    if len(shared) == 1:
        return frame | intervals.paired_interval(*rows, metric, margin)
    # Pairing is checked, and clips and recordings are counted, in the same way as on one fold.
    paired = intervals.paired_interval(*rows, metric, margin, resamples=2)
    values = np.subtract(means(results, left, shared, metric), means(results, right, shared, metric))
    overlap = max(overlap_of(results.runs(name, shared)[0]) for name in (left, right))
    frame |= {key: paired[key] for key in ("clips", "recordings")} | {"deviation": float(values.std(ddof=1))}
    return frame | intervals.fold_test(values, margin, overlap)


def seed_difference(results: Results, left: str, right: str, folds, metric: str) -> dict:
    """Difference of the means over seeds, from training noise alone: seeds (the smaller number of the two),
    seed_low and seed_high (95%, Welch's t); None with fewer than two seeds on either side."""
    from scipy import stats

    both = [seed_scores(results, name, folds, metric) for name in (left, right)] if folds else [[], []]
    count = min(map(len, both))
    answer = {"seeds": count, "seed_low": None, "seed_high": None}
    if count < 2:
        return answer
    gap = float(np.mean(both[0]) - np.mean(both[1]))
    parts = [np.var(values, ddof=1) / len(values) for values in both]
    half = 0.0
    if sum(parts) > 0:
        freedom = sum(parts) ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, both, strict=True))
        half = float(stats.t.ppf((1 + intervals.LEVEL) / 2, freedom) * np.sqrt(sum(parts)))
    return answer | {"seed_low": gap - half, "seed_high": gap + half}


def overlap_of(run: runs.Run) -> float:
    """Validation clips / training clips of a run on all folds but one, whose training sets overlap; 0 for the
    others.

    FixMatch rows share no labelled clip between folds; that their unlabelled pools overlap is not corrected
    for."""
    metrics = run.metrics
    if metrics["config"].get("labelled") != "all_but_one":
        return 0.0
    held_out = metrics["validation"]["clips"]
    missing = sum(metrics["provenance"].get("dataset_missing", {}).values())
    total = CLIPS - missing if metrics["config"].get("dataset") == "urbansound8k" else 10 * held_out
    return held_out / (total - held_out)


def verdict(result: dict, direction: str, margin: float, p: float) -> str:
    """ "supported", "contradicted" or "undecided" for a difference that should exceed `margin` in
    `direction`.

    Decided where p (two-sided, against the margin, adjusted over the table's family) is below 5% and, with
    several seeds, the interval over seeds lies on the same side of the margin: a difference that another seed
    could undo decides nothing.
    """
    sign = {"greater": 1, "less": -1}[direction]
    if result["difference"] is None or p >= 1 - intervals.LEVEL:
        return "undecided"
    excess = sign * result["difference"] - margin
    if result.get("seed_low") is not None:
        ends = [sign * end - margin for end in (result["seed_low"], result["seed_high"])]
        if not all(end * excess > 0 for end in ends):
            return "undecided"
    return "supported" if excess > 0 else "contradicted"


def needed(result: dict, printed: float | None, margin: float = 0) -> str:
    """What it would take for the paper's own difference to show, beyond the (signed) margin, at 5% with 80%
    power, in words, if its runs scattered like these; "" where that cannot be said."""
    beyond = None if printed is None else printed - margin
    if not beyond or not result.get("se"):
        return ""
    if result["deviation"] is not None:
        count = power.folds_needed(beyond, result["deviation"])
        return f"{count} folds" if count else "more than 100,000 folds"
    count = power.recordings_needed(beyond, result["se"], result["recordings"], result["df"])
    if count is None:
        return "more than 1,000,000 recordings"
    return f"{count:,} recordings ({count / result['recordings']:.1f} times this fold)"
