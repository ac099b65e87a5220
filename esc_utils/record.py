"""What a run leaves behind: scores, predictions and history, put together for runs.write."""

import numpy as np
import torch

from . import provenance, runs
from .dataset import Dataset
from .device import device_name
from .evaluation import score
from .losses import accepted
from .sampling import clips_a_step, labelled_batch
from .start import BACKBONES
from .state import State

HISTORY = (
    "epoch", "step", "learning_rate", "loss", "supervised_loss", "unlabelled_loss", "unlabelled_share",
    "mask_rate",
    "pseudo_accuracy", "valid_loss", "valid_accuracy", "valid_auc",
)  # fmt: skip


def write_record(state: State, prob: dict[str, np.ndarray], more: dict[str, np.ndarray]) -> runs.Run:
    """Write the record of a finished run; prob: softmax scores of `Split.to_score`; more: other arrays.

    The labels of the unlabelled folds are read here, after the last step, and nowhere else."""
    import pandas

    config, dataset, folds, steps = state.config, state.dataset, state.folds, state.budget.steps
    fixmatch = config.method == "fixmatch"
    history = pandas.DataFrame(state.history, columns=list(HISTORY))
    predictions = more
    for name, rows in folds.to_score.items():
        predictions |= _named(name, dataset, rows, prob[name])
    validation = score(dataset, folds.validation, prob["valid"], folds.validation_folds) | {
        "best": state.best
    }
    transductive = None
    if "unlabelled" in prob:
        hidden = predictions["unlabelled_label"]
        known, ours = hidden >= 0, (hidden >= 0) & (hidden < len(dataset.classes))
        if ours.any():
            rows, scores = folds.unlabelled[ours], prob["unlabelled"][ours]
            transductive = score(dataset, rows, scores, folds.unlabelled_folds)
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
            "identity": state.identity, "commit": commit, "dirty": dirty, "config_hash": config.hash,
            "code_hash": provenance.code_hash(), "dataset_fingerprint": dataset.fingerprint,
            "dataset_missing": {str(k): v for k, v in dataset.missing.items()},
            "versions": provenance.versions(), "device": device_name(state.device),
            "precision": str(state.dtype).removeprefix("torch."), "threads": torch.get_num_threads(),
        },
    }  # fmt: skip
    return runs.write(state.folder, record, history, predictions)


def _named(name: str, dataset: Dataset, rows: np.ndarray, prob: np.ndarray) -> dict[str, np.ndarray]:
    of = dataset.clips.iloc[rows]
    return {
        f"{name}_file": of["file"].to_numpy(dtype=str),
        f"{name}_recording": of["fsid"].to_numpy(dtype=np.int64),
        f"{name}_label": of["class_id"].to_numpy(dtype=np.int64),
        f"{name}_prob": prob.astype(np.float32),
    }
