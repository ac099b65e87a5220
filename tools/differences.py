"""What the runs behind committed numbers did otherwise than profile `paper`: computed from their records, never typed."""

import re
from collections import Counter
from types import SimpleNamespace

from esc_suite.run.check import FOLD_SIZES
from esc_suite.run.check_paper import pools
from esc_utils import config as knobs
from esc_utils.sampling import budget, labelled_batch
from esc_utils.urbansound import CLASSES, FOLDS

# Not compared knob by knob: what changes no number, and what other lines say (data, folds, steps, the machine).
ELSEWHERE = {
    *knobs.PLACES, "dataset", "allow_partial", "synthetic_clips", "synthetic_seed", "train_fold", "valid_fold", "seed",
    "backbone", "steps", "epochs", "precision", "threads",
}  # fmt: skip
# Knobs that only runs of some methods read. A frozen probe trains nothing, so none of these concerns it.
TRAINED = ("supervised", "fixmatch", "control")
READ_BY = dict.fromkeys(("schedule", "warmup", "optimizer", "learning_rate", "steps", "ema"), TRAINED) | {
    "batch_size": ("supervised",),
    "fixmatch_batch_size": ("fixmatch", "control"),
    "mu": ("fixmatch",),
    "lambda_u": ("fixmatch",),
}
CNN14, PRETRAINED = {"width", "dropout_block", "dropout_head"}, {"head_start"}
EVERYTHING = sum(FOLD_SIZES.values())


def differences(records: list[dict]) -> list[tuple[str, str, str, str]]:
    """(what, paper, here, which experiments) of all metrics.json given; "all" where every run that the line can be about
    has it. "Paper" is what params/profiles/paper.yaml gives: printed, or the ledger's choice where the paper is silent."""
    return [*_data(records), *_folds(records), *_network(records), *_budget(records), *_knobs(records), *_rest(records)]


def clips_there(record: dict) -> int:
    """Clips of the dataset that a run found."""
    if record["synthesised"]:
        return record["config"]["synthetic_clips"] * len(CLASSES) * len(FOLDS)
    return EVERYTHING - sum(record["provenance"]["dataset_missing"].values())


def data_words(record: dict) -> str:
    """The dataset of a run, e.g. "2,985 of UrbanSound8K's 8,732 clips: folds 1, 2, 10 whole, 387 of 925 of fold 3"."""
    if record["synthesised"]:
        return f"{clips_there(record):,} clips of synthesised audio, none of UrbanSound8K"
    missing = {int(fold): count for fold, count in record["provenance"]["dataset_missing"].items()}
    if not missing:
        return f"UrbanSound8K whole, {EVERYTHING:,} clips"
    whole = [str(fold) for fold in FOLD_SIZES if not missing.get(fold)]
    part = [f"{n - missing[f]:,} of {n:,} of fold {f}" for f, n in FOLD_SIZES.items() if 0 < missing.get(f, 0) < n]
    none = [str(fold) for fold, size in FOLD_SIZES.items() if missing.get(fold) == size]
    words = [f"folds {', '.join(whole)} whole"] if whole else []
    words += part + ([f"none of folds {', '.join(none)}"] if none else [])
    return f"{clips_there(record):,} of UrbanSound8K's {EVERYTHING:,} clips: {', '.join(words)}"


def _data(records) -> list[tuple]:
    found = _grouped(records, data_words)
    return [("clips", f"UrbanSound8K whole, {EVERYTHING:,} clips", here, who) for here, who in found.items()]


def _folds(records) -> list[tuple]:
    """Where folds are missing, other folds validate and the pools shrink."""
    lines = []
    pairs = sorted({(r["fold"], r["validation"]["folds"][0]) for r in records})
    other = [(fold, valid) for fold, valid in pairs if valid != fold % 10 + 1]
    if other:
        words = [", ".join(f"{fold} by {valid}" for fold, valid in p) for p in ([(f, f % 10 + 1) for f, _ in pairs], pairs)]
        lines.append(("fold that trains, validated by fold", *words, "all"))
    for at, name, method in ((1, "unlabelled", "fixmatch"), (0, "labelled", "supervised")):
        own = [r for r in records if r["config"]["method"] == method]
        lines += _ranges(f"{name} clips of a run", own, lambda r, at=at: (pools(_paper(r))[at], _pools(r)[at]))
    return lines


def _pools(record: dict) -> tuple[int, int]:
    """Labelled and unlabelled clips of a run, from its record."""
    rest = record["transductive"]["clips"] if record["transductive"] else 0
    return clips_there(record) - record["validation"]["clips"] - rest, rest


def _network(records) -> list[tuple]:
    from esc_utils.start import BACKBONES

    own = [r for r in records if r["config"]["pretrained"] and r["backbone"] != BACKBONES["pann"]]
    return [
        ("pretrained network", BACKBONES["pann"], here, who.replace("all", "all pretrained"))
        for here, who in _grouped(own, lambda r: r["backbone"]).items()
    ]


def _budget(records) -> list[tuple]:
    """Steps and what they come to: passes over the labelled clips."""

    def steps(record):
        paper = _paper(record)
        return budget(paper, *pools(paper)).steps, record["steps"]

    def passes(record):
        made = (_paper(record), pools(_paper(record))), (SimpleNamespace(**record["config"]), _pools(record))
        there = zip(steps(record), made, strict=True)
        return tuple(count * labelled_batch(config) / labelled for count, (config, (labelled, _)) in there)

    return [*_ranges("steps of a run", records, steps), *_ranges("passes over the labelled clips", records, passes)]


def _ranges(name: str, records, values) -> list[tuple]:
    """Lines of what differs from the paper by `values`, record -> (paper, here), one a pair of ranges over folds."""
    found: dict[tuple, list] = {}
    for experiment in dict.fromkeys(r["experiment"] for r in records):
        own = [r for r in records if r["experiment"] == experiment]
        sides = tuple(_range(side) for side in zip(*map(values, own), strict=True))
        if sides[0] != sides[1]:
            found.setdefault(sides, []).extend(own)
    return [(name, *sides, _who(own, records)) for sides, own in found.items()]


def _range(values) -> str:
    low, high = (f"{v:,}" if isinstance(v, int) else f"{v:.3g}" for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _knobs(records) -> list[tuple]:
    words = _comments()
    found: dict[tuple, list] = {}
    for record in records:
        paper = _paper(record).model_dump()
        for key, ours in record["config"].items():
            if key not in ELSEWHERE and key in paper and ours != paper[key] and _concerns(key, record["config"]):
                found.setdefault((key, paper[key], ours), []).append(record)
    lines = []
    for (key, paper, ours), own in found.items():
        about = [r for r in records if _concerns(key, r["config"])]
        who = _who(own, about, key)
        lines.append((f"`{key}`: {words.get(key, '')}".rstrip(": "), str(paper), str(ours), who))
    return lines


def _concerns(key: str, made: dict) -> bool:
    """Whether a knob can change anything of a run."""
    if key in READ_BY:
        return made["method"] in READ_BY[key]
    stands_in = made["pretrained"] and made["backbone"] == "mn04"
    return made["pretrained"] if key in PRETRAINED else not (key in CNN14 and stands_in)


def _rest(records) -> list[tuple]:
    """Seeds and the machine: the paper says neither."""
    seeds = Counter((r["experiment"], r["fold"]) for r in records)
    several = sorted(set(seeds.values()))
    hours = sum(r["seconds"] for r in records) / 3600
    made = {(p["device"], p["precision"], p["threads"]) for p in (r["provenance"] for r in records)}
    machines = "; ".join(f"{device}, {precision}, threads a run: {threads}" for device, precision, threads in sorted(made))
    return [
        ("seeds of a row", "not said", " to ".join(map(str, dict.fromkeys((several[0], several[-1])))), "all"),
        ("machine", "not said", f"{machines}; {len(records)} runs trained {hours:.1f} hours in all", "all"),
    ]


def _paper(record: dict) -> knobs.RunConfig:
    return knobs.for_run("paper", record["experiment"], train_fold=record["fold"], seed=record["seed"])


def _grouped(records, value) -> dict:
    """Value -> which experiments have it, in words."""
    found: dict = {}
    for record in records:
        found.setdefault(value(record), []).append(record)
    return {key: _who(own, records) for key, own in found.items()}


def _who(own, about, key: str = "") -> str:
    kind = {"batch_size": "supervised", "width": "CNN14", "dropout_block": "CNN14", "dropout_head": "CNN14"}
    kind |= dict.fromkeys(("fixmatch_batch_size", "mu", "lambda_u"), "FixMatch") | dict.fromkeys(PRETRAINED, "pretrained")
    everything = f"all {kind[key]}" if key in kind else "all"
    if len(own) == len(about):
        return everything
    ours, every = ({(r["experiment"], r["fold"]) for r in side} for side in (own, about))
    others = every - ours
    if len({name for name, _ in others}) < len({name for name, _ in ours}):
        return f"{everything} but {_names(others, every)}"
    return _names(ours, every)


def _names(some: set, every: set) -> str:
    """Experiments, with their folds where it is not all of them."""
    words = []
    for name in sorted({name for name, _ in some}):
        folds, there = (sorted(fold for own, fold in side if own == name) for side in (some, every))
        words.append(f"`{name}`" + ("" if folds == there else f" (fold {', '.join(map(str, folds))})"))
    return ", ".join(words)


def _comments() -> dict[str, str]:
    """Knob -> its comment in params/base.yaml."""
    text = (knobs.project_root() / "params" / "base.yaml").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+):[^#\n]*#\s*(.*?)\s*$", text, re.M))
