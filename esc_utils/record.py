"""What a run leaves behind: scores, predictions, history and audit, put together for runs.write."""

from pathlib import Path

import numpy as np

from . import provenance, runs
from .config import RunConfig
from .evaluation import audit_classes, score
from .sampling import Budget, labelled_batch
from .start import BACKBONES
from .urbansound import Dataset, Split

HISTORY = (
    "epoch", "step", "learning_rate", "loss", "supervised_loss", "unlabelled_loss", "unlabelled_share", "mask_rate",
    "pseudo_accuracy", "valid_loss", "valid_accuracy", "valid_auc",
)  # fmt: skip


def write_record(
    folder: Path, config: RunConfig, dataset: Dataset, folds: Split, plan: Budget, rows: list[dict],
    prob: np.ndarray, other: np.ndarray | None, pseudo: tuple[np.ndarray, np.ndarray] | None, found: dict,
) -> runs.Run:  # fmt: skip
    """Write the record of a finished run. rows: its history; prob, other: softmax scores of the validation and of the
    unlabelled clips; pseudo: confidence and class of every pseudo-label, (epochs, clips) each; found: identity, device,
    precision, threads, seconds, clips_a_step, best and losses (sums of lambda_u L_u and of the whole loss).

    The labels of the unlabelled folds are read here, after the last step, and nowhere else."""
    import pandas

    history = pandas.DataFrame(rows, columns=list(HISTORY))
    predictions = _named("valid", dataset, folds.validation, prob)
    validation = score(dataset, folds.validation, prob, folds.validation_folds) | {"best": found["best"]}
    transductive, audit = None, None
    if other is not None:
        predictions |= _named("unlabelled", dataset, folds.unlabelled, other)
        transductive = score(dataset, folds.unlabelled, other, folds.unlabelled_folds)
    if pseudo is not None:
        predictions |= dict(zip(("pseudo_confidence", "pseudo_label"), pseudo, strict=True))
        audit = _audit(history, predictions, config.tau)
    commit, dirty = provenance.commit()
    seconds, losses = found["seconds"], found["losses"]
    record = {
        "schema_version": runs.SCHEMA, "experiment": config.experiment, "profile": config.profile,
        "fold": config.train_fold, "seed": config.seed, "synthesised": dataset.synthesised,
        "backbone": BACKBONES[config.backbone] if config.pretrained else "random start",
        "stands_in_for_pann": config.pretrained and config.backbone != "pann",
        "config": config.model_dump(), "validation": validation, "transductive": transductive,
        "epochs": plan.epochs, "steps": plan.steps,
        "labelled_passes": round(labelled_batch(config) * plan.steps / len(folds.labelled), 2),
        "unlabelled_share": float(losses[0] / losses[1]) if config.method == "fixmatch" else None,
        "seconds": round(seconds, 2),
        "clips_per_second": round(found["clips_a_step"] * plan.steps / max(seconds, 1e-9), 1),
        "provenance": {
            "identity": found["identity"], "commit": commit, "dirty": dirty, "config_hash": config.hash,
            "code_hash": provenance.code_hash(), "dataset_fingerprint": dataset.fingerprint,
            "dataset_missing": {str(k): v for k, v in dataset.missing.items()},
            "versions": provenance.versions(), "device": found["device"], "precision": found["precision"],
            "threads": found["threads"],
        },
    }  # fmt: skip
    return runs.write(folder, record, history, predictions, audit)


def _audit(history, predictions: dict, tau: float):
    """Accepted pseudo-labels by epoch and class; writes the share that is right into the history."""
    arrays = [predictions[name] for name in ("pseudo_confidence", "pseudo_label", "unlabelled_label")]
    audit = audit_classes(*arrays, predictions["unlabelled_recording"], tau)[list(runs.AUDIT)]
    sums = audit.groupby("epoch")[["accepted", "right"]].sum()
    history["pseudo_accuracy"] = history["epoch"].map(sums["right"] / sums["accepted"].where(sums["accepted"] > 0))
    return audit


def _named(name: str, dataset: Dataset, rows: np.ndarray, prob: np.ndarray) -> dict[str, np.ndarray]:
    of = dataset.clips.iloc[rows]
    return {
        f"{name}_file": of["file"].to_numpy(dtype=str),
        f"{name}_recording": of["fsid"].to_numpy(dtype=np.int64),
        f"{name}_label": of["class_id"].to_numpy(dtype=np.int64),
        f"{name}_prob": prob.astype(np.float32),
    }
