"""Three ways to label, each validated by recording: the frozen probe, the supervised control, FixMatch."""

import numpy as np

from esc_suite.label import networks
from esc_suite.records import runs, train
from esc_suite.results import intervals
from esc_utils import config as configuration
from esc_utils.config import RunConfig
from esc_utils.dataset import Dataset
from esc_utils.errors import UserError
from esc_utils.urbansound import split

PROBE, CONTROL, FIXMATCH = "pann_probe", "pann_control", "fixmatch_tau075"
METHODS = {PROBE: "frozen probe", CONTROL: "supervised control", FIXMATCH: "FixMatch"}  # from the simplest on


def trained(config: RunConfig, quiet: bool = False) -> runs.Run:
    """`train.run`, and beside its record the network, as weights.safetensors."""
    folder = runs.folder(config)
    weights = folder / networks.FILE
    if runs.complete(folder):
        identity = runs.read_metrics(folder)["provenance"]["identity"]
        if networks.identity_of(weights) != identity:  # a record without its own weights counts for nothing
            (folder / "metrics.json").unlink()

    def keep(state, identity: str) -> None:
        networks.save(weights, state.trained, config, state.dataset.classes, identity)

    try:
        return train.run(config, quiet, keep)
    except UserError as error:
        ours = "give --seconds a smaller value, or choose --profile quick"
        raise UserError(str(error).replace(train.LESS_MEMORY, ours)) from error


def every_fold(profile: str, method: str, folds: list[int], quiet: bool = False, **own) -> list[runs.Run]:
    """A run of one method for each fold, which validates on it and trains on all others."""
    pairs = [(folds[(at + 1) % len(folds)], fold) for at, fold in enumerate(folds)]
    return [
        trained(configuration.for_run(profile, method, train_fold=other, valid_fold=fold, **own), quiet)
        for other, fold in pairs
    ]


def sums(found: list[runs.Run]) -> intervals.Sums:
    """All labelled clips, each scored in the run that validates on it, added up by recording."""
    arrays = [run.predictions for run in found]
    joined = (
        np.concatenate([one[f"valid_{name}"] for one in arrays]) for name in ("label", "prob", "recording")
    )
    return intervals.recording_sums(*joined)


def unlabelled_scores(found: list[runs.Run], dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the clips without a label, and their mean softmax scores (rows, classes) over the networks of
    all folds; a network does not score a clip of a recording that it was validated on."""
    total, count = np.zeros((len(dataset.clips), len(dataset.classes))), np.zeros((len(dataset.clips), 1))
    for run in found:
        rows = split(RunConfig(**run.metrics["config"]), dataset).unlabelled
        if len(rows):
            total[rows] += run.predictions["unlabelled_prob"]
            count[rows] += 1
    rows = np.flatnonzero(count)
    return rows, total[rows] / count[rows]


def judged(by_method: dict[str, intervals.Sums]) -> dict:
    """Which method to trust, with the numbers behind it: the simplest one that no other beats beyond noise.

    Returns trusted, accuracy (method -> interval), differences (pairs of methods -> paired interval by
    recording)."""
    accuracy = {name: intervals.interval([found], "accuracy") for name, found in by_method.items()}
    trusted, differences = PROBE, {}
    for name in list(by_method)[1:]:
        gap = intervals.paired_interval([by_method[name]], [by_method[trusted]], "accuracy")
        differences[name, trusted] = gap
        if gap["low"] > 0:
            trusted = name
    if FIXMATCH in by_method and (FIXMATCH, CONTROL) not in differences:
        pair = [by_method[FIXMATCH]], [by_method[CONTROL]]
        differences[FIXMATCH, CONTROL] = intervals.paired_interval(*pair, "accuracy")
    return {"trusted": trusted, "accuracy": accuracy, "differences": differences}


def sentences(found: dict) -> list[str]:
    """What was found, in three sentences."""
    one = next(iter(found["accuracy"].values()))
    scores = "; ".join(f"{METHODS[name]} {_score(value)}" for name, value in found["accuracy"].items())
    said = [
        f"Of {one['clips']} labelled clips from {one['recordings']} recordings, each scored by a network "
        "that never heard "
        f"its recording, these are right (95% interval): {scores}."
    ]
    trusted = found["trusted"]
    beaten = [pair[1] for pair, gap in found["differences"].items() if pair[0] == trusted and gap["low"] > 0]
    if beaten:
        why = f"it beats the {METHODS[beaten[-1]]} beyond noise"
    elif len(found["accuracy"]) > 1:
        why = "it is the simplest, and nothing that was trained beats it beyond noise"
    else:
        why = "nothing else was trained"
    said.append(f"Trust the {METHODS[trusted]}: {why}; labels.csv holds its labels.")
    gap = found["differences"].get((FIXMATCH, CONTROL))
    if gap is None:
        return [*said, "Whether FixMatch helps was not tried."]
    verdict = "helped" if gap["low"] > 0 else "hurt" if gap["high"] < 0 else "made no difference beyond noise"
    return [
        *said,
        f"FixMatch {verdict}: {gap['difference']:+.1f} points against the supervised control, 95% interval "
        f"{gap['low']:+.1f} to {gap['high']:+.1f} (paired by recording).",
    ]


def _score(value: dict) -> str:
    limits = "" if value["low"] is None else f" ({value['low']:.0f} to {value['high']:.0f})"
    return f"{value['estimate']:.0f}%{limits}"
