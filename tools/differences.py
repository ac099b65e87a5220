"""What the runs behind committed numbers did otherwise than profile `paper`: computed from their records,
never typed."""

import re

from esc_suite.run.check_paper import pools
from esc_utils import config, paths
from esc_utils.sampling import budget
from esc_utils.urbansound import CLASSES, CLIPS, FOLD_SIZES, FOLDS

# Not compared knob by knob: what changes no number, and what other lines say (data, folds, steps, the
# machine).
ELSEWHERE = {
    *config.PLACES, "dataset", "allow_partial", "synthetic_clips", "synthetic_seed", "train_fold",
    "valid_fold", "seed",
    "steps", "epochs", "precision", "threads",
}  # fmt: skip
# What only runs with one of these values of another knob read
READ_BY = {"threshold_ema": ("threshold", ("freematch", "softmatch"))}


def differences(records: list[dict]) -> list[tuple[str, str, str, str]]:
    """(what, paper, here, which experiments) of all metrics.json given; "all" where every run differs so.
    "Paper" is what params/profiles/paper.yaml gives: printed, or the ledger's choice where the paper is
    silent."""
    papers = [config.for_run("paper", r["experiment"], train_fold=r["fold"], seed=r["seed"]) for r in records]
    words, found = _comments(), {}
    for record, paper in zip(records, papers, strict=True):
        for line in _of_run(record, paper, words):
            found.setdefault(line, set()).add(record["experiment"])
    for name in {record["experiment"]: None for record in records}:
        own = [(paper, r) for paper, r in zip(papers, records, strict=True) if r["experiment"] == name]
        sides = (
            _range(budget(paper, *pools(paper)).steps for paper, _ in own),
            _range(r["steps"] for _, r in own),
        )
        found.setdefault(("steps of a run", *sides), set()).add(name)
    everything = {record["experiment"] for record in records}
    return [
        (*line, "all" if names == everything else ", ".join(f"`{name}`" for name in sorted(names)))
        for line, names in found.items()
        if line[1] != line[2]
    ] + _folds_and_machine(records)


def clips_there(record: dict) -> int:
    """Clips of the dataset that a run found."""
    if record["synthesised"]:
        return record["config"]["synthetic_clips"] * len(CLASSES) * len(FOLDS)
    return CLIPS - sum(record["provenance"]["dataset_missing"].values())


def data_words(record: dict) -> str:
    """The dataset of a run, e.g. "2,985 of UrbanSound8K's 8,732 clips: folds 1, 2, 10 whole, 387 of 925 of
    fold 3"."""
    if record["synthesised"]:
        return f"{clips_there(record):,} clips of synthesised audio, none of UrbanSound8K"
    missing = {int(fold): count for fold, count in record["provenance"]["dataset_missing"].items()}
    if not missing:
        return f"UrbanSound8K whole, {CLIPS:,} clips"
    whole = [str(fold) for fold in FOLD_SIZES if not missing.get(fold)]
    part = [
        f"{n - missing[f]:,} of {n:,} of fold {f}" for f, n in FOLD_SIZES.items() if 0 < missing.get(f, 0) < n
    ]
    none = [str(fold) for fold, size in FOLD_SIZES.items() if missing.get(fold) == size]
    words = [f"folds {', '.join(whole)} whole"] if whole else []
    words += part + ([f"none of folds {', '.join(none)}"] if none else [])
    return f"{clips_there(record):,} of UrbanSound8K's {CLIPS:,} clips: {', '.join(words)}"


def _of_run(record: dict, paper: config.RunConfig, words: dict[str, str]) -> list[tuple[str, str, str]]:
    """(what, paper, here) of the data and every knob of one run, equal ones too."""
    lines = [("clips", f"UrbanSound8K whole, {CLIPS:,} clips", data_words(record))]
    for key, value in paper.model_dump().items():
        by, values = READ_BY.get(key, ("", ()))
        if key not in ELSEWHERE and (not by or getattr(paper, by) in values):
            name = f"`{key}`: {words[key]}".rstrip(": ")
            lines.append((name, str(value), str(record["config"].get(key, value))))
    return lines


def _range(values) -> str:
    values = list(values)
    low, high = (f"{end:,}" for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _folds_and_machine(records: list[dict]) -> list[tuple[str, str, str, str]]:
    """Where folds are missing, others validate; seeds and the machine, of which the paper says nothing."""
    pairs = sorted({(r["fold"], r["validation"]["folds"][0]) for r in records})
    by = [
        ", ".join(f"{fold} by {valid}" for fold, valid in side)
        for side in ([(f, f % 10 + 1) for f, _ in pairs], pairs)
    ]
    lines = [("fold that trains, validated by fold", *by, "all")] if by[0] != by[1] else []
    runs = [(r["experiment"], r["fold"]) for r in records]
    hours = sum(r["seconds"] for r in records) / 3600
    made = sorted({(p["device"], p["precision"], p["threads"]) for p in (r["provenance"] for r in records)})
    machines = "; ".join(
        f"{device}, {precision}, threads a run: {threads}" for device, precision, threads in made
    )
    return [
        *lines,
        ("seeds of a row", "not said", _range(runs.count(run) for run in runs), "all"),
        ("machine", "not said", f"{machines}; {len(records)} runs trained {hours:.1f} hours in all", "all"),
    ]


def _comments() -> dict[str, str]:
    """Knob -> its comment in params/base.yaml, empty where it has none."""
    text = (paths.project_root() / "params" / "base.yaml").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+):[^#\n]*(?:#\s*(.*?)\s*)?$", text, re.M))
