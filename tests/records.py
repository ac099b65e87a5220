"""Hand-made run records: complete and valid, with the validation scores that a test wants."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from esc_suite.records import runs
from esc_utils import config
from esc_utils.evaluation import metrics

PANN = "PANN CNN14-16k (AudioSet)"
MN04 = "EfficientAT mn04 (AudioSet)"  # stands in for PANN
# One pixel, grey.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c63680000008200816374dba50000000049454e44ae426082"
)


def outcome(accuracy: float, recordings: int = 60, clips: int = 8, seed: int = 0, noise: float = 0.0):
    """(labels, prob, fsIDs) of a fold of equal recordings: `accuracy` percent of the recordings wholly right.

    The same `seed` puts the right ones in the same order, so a higher accuracy is right wherever a lower one
    is. `noise`: share of the recordings whose outcome is redrawn, with this accuracy, by the accuracy's own
    dice."""
    order = np.random.default_rng(seed).permutation(recordings)
    right = np.empty(recordings, bool)
    right[order] = np.arange(recordings) < round(accuracy * recordings / 100)
    own = np.random.default_rng([seed, round(100 * accuracy)])
    redrawn = own.uniform(size=recordings) < noise
    right[redrawn] = own.permutation(right[redrawn])
    labels = np.arange(recordings) % 10
    prob = np.full((recordings, 10), 0.05)
    prob[np.arange(recordings), np.where(right, labels, (labels + 1) % 10)] = 0.55
    group = np.repeat(np.arange(recordings), clips)
    return labels[group], prob[group], 1000 * (seed + 1) + group


def write(
    outputs: Path, experiment: str, accuracy: float, fold: int = 1, seed: int = 0, profile: str = "paper",
    backbone: str | None = None, synthesised: bool = False, steps: int = 2170, clips=None, history=None,
    labelled_passes: float = 79.5, unlabelled_share: float = 0.2, missing: dict | None = None, **knobs,
) -> runs.Run:  # fmt: skip
    """Write one record under outputs/<profile>/runs/ and read it back. `clips`: (labels, prob, fsIDs), by
    default those of `outcome` with the fold as seed; `history`: validation accuracies by epoch, from epoch 1
    (epoch 0, the start, has 10%); a probe has no epoch but that one. `unlabelled_share`: 0 to 1, of FixMatch
    runs; `missing`: clips missing by fold; knobs override the config."""
    settings = config.for_run(profile, experiment, outputs=str(outputs), train_fold=fold, seed=seed, **knobs)
    labels, prob, recordings = outcome(accuracy, seed=fold) if clips is None else clips
    last = metrics(labels, prob, recordings=recordings)
    probe = settings.method == "probe"
    scores = [last["accuracy"]] if probe else [10.0, *(history or [last["accuracy"]] * 10)]
    backbone = backbone or (PANN if settings.pretrained else "random start")
    fixmatch = settings.method == "fixmatch"
    record = {
        "schema_version": runs.SCHEMA,
        "experiment": experiment,
        "profile": profile,
        "fold": fold,
        "seed": seed,
        "synthesised": synthesised,
        "backbone": backbone,
        "stands_in_for_pann": settings.pretrained and backbone != PANN,
        "config": settings.model_dump(),
        "validation": {
            "folds": [settings.validation_fold],
            "clips": len(labels),
            "recordings": len(np.unique(recordings)),
            "last": last,
            "best": last | {"epoch": 0 if probe else 1},
        },
        "transductive": {"folds": [3], "clips": 9, "recordings": 3, "last": last} if fold < 10 else None,
        "epochs": len(scores) - 1,
        "steps": 0 if probe else steps,
        "labelled_passes": 0.0 if probe else labelled_passes,
        "unlabelled_share": unlabelled_share if fixmatch else None,
        "seconds": 12.3,
        "clips_per_second": 640.0,
        "provenance": {
            "identity": "i",
            "commit": "0123456789abcdef",
            "dirty": False,
            "config_hash": settings.hash,
            "code_hash": "c0de",
            "dataset_fingerprint": "da7a",
            "dataset_missing": missing or {},
            "versions": {"python": "3.11", "torch": "2.11.0"},
            "device": "cpu",
            "precision": "float32",
            "threads": 1,
        },
    }
    table = pd.DataFrame(
        {
            "epoch": np.arange(len(scores)),
            "valid_accuracy": scores,
            "mask_rate": 0.5 if fixmatch else np.nan,
            "pseudo_accuracy": 0.9 if fixmatch else np.nan,
            "loss": [np.nan] + [1.0] * (len(scores) - 1),
        }
    )
    arrays = {"valid_label": labels, "valid_prob": prob.astype(np.float32), "valid_recording": recordings}
    arrays["valid_file"] = np.array([f"{r}-{i}.wav" for i, r in enumerate(recordings)])
    folder = Path(outputs) / profile / "runs" / experiment / f"fold{fold}_seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notebook.ipynb").write_text(
        json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    return runs.write(folder, record, table, arrays)
