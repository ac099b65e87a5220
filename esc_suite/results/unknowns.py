"""Runs with unknown classes (knob unknown_classes): are they told from known ones, are they learnt from?"""

import numpy as np

from esc_suite.records import runs
from esc_suite.results import pseudo
from esc_utils.losses import accepted
from esc_utils.urbansound import CLASSES


def class_names(run: runs.Run) -> list[str]:
    """Names of all ten classes by the ids of this run's record, known ones first."""
    return [*run.classes, *(name for name in CLASSES if name not in run.classes)]


def inlier_scores(run: runs.Run, softmax: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """How sure the network is that each validation clip, of known and of unknown classes, is known:
    OpenMatch's inlier probability of the predicted class, of other runs, and where `softmax`, the largest
    softmax score."""
    arrays = run.predictions
    heads = "valid_inlier" in arrays and not softmax
    known, unknown = (
        arrays[f"{name}_inlier"] if heads else arrays[f"{name}_prob"].max(axis=1)
        for name in ("valid", "unknown")
    )  # fmt: skip
    return known, unknown


def auroc(run: runs.Run, softmax: bool = False) -> float | None:
    """AUROC (percent) of known against unknown validation clips by `inlier_scores`; None where there are
    none."""
    from sklearn.metrics import roc_auc_score

    if "unknown_prob" not in run.predictions:
        return None
    known, unknown = inlier_scores(run, softmax)
    truth = np.repeat([1, 0], [len(known), len(unknown)])
    return 100 * float(roc_auc_score(truth, np.r_[known, unknown]))


def unknown_clips(run: runs.Run) -> np.ndarray:
    """Which unlabelled clips (m,) are of unknown classes; training never reads it."""
    return run.predictions["unlabelled_label"] >= len(run.classes)


def accepted_known(run: runs.Run) -> float | None:
    """Percent of the known clips that the last epoch drew, that were accepted; None for a control."""
    return None if "pseudo_label" not in run.predictions else _accepted(run, ~unknown_clips(run))


def kept_out(run: runs.Run) -> tuple[int, int]:
    """Of OpenMatch's labels in the epochs after its warm-up: those that its inlier test alone rejected, and
    all whose confidence reached tau."""
    made = run.metrics["config"]
    first = int(np.ceil(made["open_warmup"] * run.metrics["epochs"]))
    confident = accepted(run.predictions["pseudo_confidence"], made["tau"])[first:]
    return int((confident & (pseudo.weights(run)[first:] == 0)).sum()), int(confident.sum())


def without_tau(run: runs.Run) -> tuple[float, float]:
    """Percent of the known and of the unknown clips of the pool that OpenMatch's inlier test alone accepts,
    by the trained network on clean clips, whatever their confidence."""
    inside, unknown = run.predictions["unlabelled_inlier"] >= 0.5, unknown_clips(run)
    return 100 * float(inside[~unknown].mean()), 100 * float(inside[unknown].mean())


def accepted_unknown(run: runs.Run) -> float | None:
    """Percent of the unknown clips that the last epoch drew, that were accepted: their labels are all wrong.
    None where nothing is accepted at all (a control), or nothing is unknown."""
    if "pseudo_label" not in run.predictions or not unknown_clips(run).any():
        return None
    return _accepted(run, unknown_clips(run))


def _accepted(run: runs.Run, clips: np.ndarray) -> float | None:
    weight = pseudo.weights(run)[-1][clips]
    drawn = weight[~np.isnan(weight)]
    return 100 * float((drawn >= 0.5).mean()) if len(drawn) else None
