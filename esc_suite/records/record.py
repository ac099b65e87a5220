"""What a run leaves behind: scores, predictions and history, put together for runs.write."""

from pathlib import Path

import numpy as np
import torch

from esc_suite.records import provenance, runs
from esc_utils.dataset import Dataset
from esc_utils.device import device_name
from esc_utils.evaluation import score
from esc_utils.losses import accepted
from esc_utils.sampling import clips_a_step, labelled_batch
from esc_utils.start import BACKBONES
from esc_utils.state import State
from esc_utils.training import HISTORY


def write_record(folder: Path, identity: str, state: State, scores: dict[str, np.ndarray]) -> runs.Run:
    """Write the record of a finished run; scores: of its last network (`training.scores`).

    The labels of the unlabelled folds are read here, after the last step, and nowhere else."""
    import pandas

    config, dataset, folds, steps = state.config, state.dataset, state.folds, state.budget.steps
    fixmatch = config.method == "fixmatch"
    history = pandas.DataFrame(state.history, columns=list(HISTORY))
    predictions = dict(scores)
    for name, rows in folds.to_score.items():
        predictions |= _named(name, dataset, rows)
    validation = score(dataset, folds.validation, scores["valid_prob"], folds.validation_folds) | {
        "best": state.best
    }
    transductive = None
    if "unlabelled" in folds.to_score:
        hidden = predictions["unlabelled_label"]
        known, ours = hidden >= 0, (hidden >= 0) & (hidden < len(dataset.classes))
        if ours.any():
            rows, prob = folds.unlabelled[ours], scores["unlabelled_prob"][ours]
            transductive = score(dataset, rows, prob, folds.unlabelled_folds)
    if fixmatch:
        confidence, pseudo = state.confidence.cpu().numpy(), state.pseudo_labels.cpu().numpy()
        predictions |= {"pseudo_confidence": confidence, "pseudo_label": pseudo}
        weight = accepted(confidence, config.tau)
        if state.threshold is not None:
            weight = predictions["pseudo_weight"] = state.threshold.weights.cpu().numpy()
        taken = weight * known  # whether the others are right, nobody knows
        right = taken * (pseudo == predictions["unlabelled_label"])
        with np.errstate(invalid="ignore"):  # NaN in an epoch that accepts nothing
            shares = pandas.Series(right.sum(axis=1) / taken.sum(axis=1), index=range(1, len(taken) + 1))
        history["pseudo_accuracy"] = history["epoch"].map(shares)
    commit, dirty = provenance.commit()
    record = {
        "schema_version": runs.SCHEMA, "experiment": config.experiment, "profile": config.profile,
        "fold": config.train_fold, "seed": config.seed, "synthesised": dataset.synthesised,
        "backbone": BACKBONES[config.backbone] if config.pretrained else "random start",
        "stands_in_for_pann": config.pretrained and config.backbone != "pann",
        "config": config.model_dump(), "validation": validation, "transductive": transductive,
        "epochs": state.budget.epochs, "steps": steps,
        "labelled_passes": round(labelled_batch(config) * steps / len(folds.labelled), 2),
        "unlabelled_share": float(state.losses[0] / state.losses[1]) if fixmatch else None,
        "seconds": round(state.seconds, 2),
        "clips_per_second": round(clips_a_step(config) * steps / max(state.seconds, 1e-9), 1),
        "provenance": {
            "identity": identity, "commit": commit, "dirty": dirty, "config_hash": config.hash,
            "code_hash": provenance.code_hash(), "dataset_fingerprint": dataset.fingerprint,
            "dataset_missing": {str(k): v for k, v in dataset.missing.items()},
            "versions": provenance.versions(), "device": device_name(state.device),
            "precision": str(state.dtype).removeprefix("torch."), "threads": torch.get_num_threads(),
        },
    }  # fmt: skip
    return runs.write(folder, record, history, predictions)


def _named(name: str, dataset: Dataset, rows: np.ndarray) -> dict[str, np.ndarray]:
    of = dataset.clips.iloc[rows]
    return {
        f"{name}_file": of["file"].to_numpy(dtype=str),
        f"{name}_recording": of["fsid"].to_numpy(dtype=np.int64),
        f"{name}_label": of["class_id"].to_numpy(dtype=np.int64),
    }
