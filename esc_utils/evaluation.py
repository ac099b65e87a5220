"""Scores of a run: softmax scores of clips, accuracy, weighted AUC, accuracy per class."""

from contextlib import nullcontext

import numpy as np
import torch

from .dataset import Dataset
from .errors import UserError
from .features import Clips
from .index import CLASSES

EVAL_BATCH, CUDA_EVAL_BATCH = 64, 256  # clips scored at a time


def metrics(labels, prob, class_names=None, recordings=None) -> dict:
    """Accuracy, weighted AUC and per-class accuracy, all in percent (0 to 100).

    labels (n,) integers 0..C-1; prob (n, C) softmax scores; class_names: C of them, without them
    UrbanSound8K's ten, or numbers. Returns {"accuracy", "auc_weighted", "per_class"}.

    AUC: scikit-learn's one-vs-rest ROC AUC, averaged with the classes' clip counts as weights (ledger 20). A
    class without clips has `per_class` None and takes no part in the AUC (its weight would be 0 anyway);
    where fewer than two classes are there, no ROC exists and `auc_weighted` is None. With `recordings` (n,),
    also `accuracy_by_recording`: the mean over recordings of the share of their clips that is right, in which
    a recording cut into 79 clips weighs as much as one cut into two. `per_class` is the share of a class's
    clips that are labelled right (its recall). Raises UserError for no clips, or for scores that are not
    finite (a diverged run).
    """
    from sklearn.metrics import roc_auc_score

    labels, prob = check_scores(labels, prob)
    right = prob.argmax(1) == labels
    present = np.unique(labels)
    count = prob.shape[1]
    class_names = class_names or (CLASSES if count == len(CLASSES) else [str(c) for c in range(count)])
    per_class = dict.fromkeys(class_names[:count])
    for c in present:
        per_class[class_names[c]] = 100 * float(right[labels == c].mean())
    auc = None
    if len(present) > 1:
        # The indicator form equals multi_class="ovr" where all classes are there; one may lack here.
        auc = 100 * float(roc_auc_score(labels[:, None] == present, prob[:, present], average="weighted"))
    found = {"accuracy": 100 * float(right.mean()), "auc_weighted": auc, "per_class": per_class}
    if recordings is not None:
        _, of, clips = np.unique(np.asarray(recordings), return_inverse=True, return_counts=True)
        found["accuracy_by_recording"] = 100 * float((np.bincount(of, right) / clips).mean())
    return found


def check_scores(labels, prob) -> tuple[np.ndarray, np.ndarray]:
    """labels as int64 (n,), prob as float64 (n, C); raises UserError where they cannot be scored."""
    labels, prob = np.asarray(labels, dtype=np.int64), np.asarray(prob, dtype=np.float64)
    if not len(labels):
        raise UserError("no clips to score: the validation folds are empty; check folds and allow_partial")
    if prob.ndim != 2 or len(prob) != len(labels):
        raise ValueError(f"prob must be (clips, classes) with {len(labels)} clips, got {prob.shape}")
    if labels.min() < 0 or labels.max() >= prob.shape[1]:
        raise ValueError(f"labels must lie in 0..{prob.shape[1] - 1}, got {labels.min()}..{labels.max()}")
    if not np.isfinite(prob).all():
        remedy = "lower learning_rate, or set precision: float32"
        raise UserError(f"class scores are not finite: the training diverged; {remedy}")
    return labels, prob


def scored(clips: Clips, rows: np.ndarray) -> tuple[torch.Tensor, ...]:
    """Rows of the store in batches for passes without gradients, there where the store is."""
    size = CUDA_EVAL_BATCH if clips.device.type == "cuda" else EVAL_BATCH
    return torch.from_numpy(np.asarray(rows)).to(clips.place).split(size)


@torch.inference_mode()
def predict(model: torch.nn.Module, clips: Clips, rows: np.ndarray, forward=None, of=None) -> np.ndarray:
    """Softmax scores (len(rows), classes) float32 of unaugmented clips, in eval mode, in which the model is
    left. forward: makes the context of each batch; of: what else of (model, batch) to give, (clips,)."""
    model, parts = model.eval(), []
    for batch in scored(clips, rows):
        with forward() if forward else nullcontext():
            parts.append(of(model, clips[batch]) if of else model(clips[batch]).float().softmax(dim=1))
    return torch.cat(parts).cpu().numpy()


def score(dataset: Dataset, rows: np.ndarray, prob: np.ndarray, folds: tuple[int, ...]) -> dict:
    """Scores of predictions against the labels: accuracy (also by recording), AUC, per class."""
    of = dataset.clips.iloc[rows]
    found = metrics(of["class_id"].to_numpy(), prob, dataset.classes, of["fsid"].to_numpy())
    return {"folds": list(folds), "clips": len(rows), "recordings": int(of["fsid"].nunique()), "last": found}
