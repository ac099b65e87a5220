"""What mn04's frozen embeddings of the real clips can do, on the pairs of folds that no table reports.

python tools/frozen.py --data DIR     writes three tables to outputs/evidence/pairs/:

probe_c        logistic regression on the embeddings of the labelled fold, by its penalty C
masks          how much a mask of Table 1 in the validated clips costs that probe, by what fills the masked
               cells: the mean of their band over the labelled clips (`Mn04.set_statistics`), or the authors'
               own value
self_training  the probe fitted again on its own confident labels of the unlabelled clips, three times, as
               FixMatch would but with nothing augmented and nothing else trained; by the number of labelled
               recordings a class
A few minutes on one core. Nothing is trained but logistic regressions.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from esc_suite.run.together import exit_with  # noqa: E402
from esc_utils import augment, config, start  # noqa: E402
from esc_utils.evaluation import metrics  # noqa: E402
from esc_utils.features import open_store  # noqa: E402
from esc_utils.start import standardisation  # noqa: E402
from esc_utils.urbansound import open_dataset, split  # noqa: E402

PAIRS = ((2, 1), (1, 10), (10, 2))
AUTHORS_MASK = 0.9  # (0 + 4.5) / 5: the authors put 0 into ln(mel)
# Labelled recordings a class (None: all of the fold), and draws of them
RECORDINGS, DRAWS = ((1, 2, 4, 8, None), 5)
TAUS, ROUNDS = (0.75, 0.9), 3


class Frozen:
    """The real clips as mn04 sees them: embeddings, labels, recordings, and the rows of each pair's folds."""

    def __init__(self, data: str, outputs: str):
        knobs = config.for_run("lite", "pann_probe", data_dir=data, outputs=outputs)
        self.c = knobs.logistic_c
        self.dataset = open_dataset(knobs)
        self.store = open_store(knobs, self.dataset)
        self.model = start.build_model(knobs).eval()
        self.labels = self.dataset.clips["class_id"].to_numpy()
        self.recordings = self.dataset.clips["fsid"].to_numpy()
        self.views = augment.views(knobs)
        self.rows = {
            pair: split(knobs.model_copy(update={"train_fold": pair[0], "valid_fold": pair[1]}), self.dataset)
            for pair in PAIRS
        }
        self.embeddings = self.embed(np.arange(len(self.labels)))

    @torch.inference_mode()
    def embed(self, rows: np.ndarray, view=None) -> np.ndarray:
        """Embeddings (n, 384) of store rows; `view` changes a batch of log-mels (B, 1, frames, 128) first."""
        parts = []
        for batch in np.array_split(rows, -(-len(rows) // 64)):
            x = torch.from_numpy(np.asarray(self.store[batch])).float().unsqueeze(1)
            parts.append(self.model.embed(self.model.normalise(view(x) if view else x)))
        return torch.cat(parts).numpy().astype(np.float64)

    def scale(self, rows: np.ndarray):
        """Standardisation by the labelled clips, as the suite's probe has it."""
        mean, spread = standardisation(self.embeddings[rows])
        return lambda e: (e - mean) / spread

    def scores(self, prob: np.ndarray, rows: np.ndarray) -> dict:
        """accuracy, accuracy_by_recording, auc of validation scores."""
        found = metrics(self.labels[rows], prob, recordings=self.recordings[rows])
        return {
            "accuracy": found["accuracy"],
            "by_recording": found["accuracy_by_recording"],
            "auc": found["auc_weighted"],
        }


def fit(x, y, c: float):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=c, max_iter=3000).fit(x, y)


def probe_c(frozen: Frozen) -> pd.DataFrame:
    lines = []
    for (train, valid), rows in frozen.rows.items():
        scale = frozen.scale(rows.labelled)
        for c in (0.001, 0.003, 0.01, 0.03, 0.1, 1.0):
            found = fit(scale(frozen.embeddings[rows.labelled]), frozen.labels[rows.labelled], c)
            prob = found.predict_proba(scale(frozen.embeddings[rows.validation]))
            lines.append({"train": train, "validate": valid, "c": c} | frozen.scores(prob, rows.validation))
    return pd.DataFrame(lines)


def masks(frozen: Frozen) -> pd.DataFrame:
    lines = []
    for (train, valid), rows in frozen.rows.items():
        scale = frozen.scale(rows.labelled)
        found = fit(scale(frozen.embeddings[rows.labelled]), frozen.labels[rows.labelled], frozen.c)
        band = torch.from_numpy(
            np.asarray(frozen.store[rows.labelled]).mean((0, 1), dtype=np.float64)
        ).float()
        fills = {"band mean": band, "authors'": torch.full_like(band, AUTHORS_MASK)}
        for name, view in frozen.views.items():
            for fill, value in fills.items():
                generator = torch.Generator().manual_seed(0)

                def masked(x, view=view, value=value, generator=generator):
                    return augment.apply(x - value, view.draw(len(x), *x.shape[2:], generator)) + value

                prob = found.predict_proba(scale(frozen.embed(rows.validation, masked)))
                lines.append(
                    {"train": train, "validate": valid, "view": name, "fill": fill}
                    | frozen.scores(prob, rows.validation)
                )
    return pd.DataFrame(lines)


def self_training(frozen: Frozen) -> pd.DataFrame:
    lines = []
    for pair, rows in frozen.rows.items():
        for count in RECORDINGS:
            for draw in range(DRAWS if count else 1):
                labelled = few(frozen, rows.labelled, count, np.random.default_rng([*pair, count or 0, draw]))
                pool = np.r_[rows.unlabelled, np.setdiff1d(rows.labelled, labelled)]
                start = {
                    "train": pair[0],
                    "validate": pair[1],
                    "recordings_a_class": count or "all",
                    "draw": draw,
                }
                start |= {"labelled_clips": len(labelled)}
                for line in taught(frozen, labelled, rows.validation, pool):
                    lines.append(start | line)
    return pd.DataFrame(lines)


def few(frozen: Frozen, rows: np.ndarray, count: int | None, rng) -> np.ndarray:
    """The clips of `count` recordings a class, drawn from those of a fold; all clips where count is None."""
    if count is None:
        return rows
    kept = []
    for label in np.unique(frozen.labels[rows]):
        mine = rows[frozen.labels[rows] == label]
        kept.append(
            mine[
                np.isin(frozen.recordings[mine], rng.permutation(np.unique(frozen.recordings[mine]))[:count])
            ]
        )
    return np.sort(np.concatenate(kept))


def taught(frozen: Frozen, labelled, validation, pool) -> list[dict]:
    """The probe, and the probe after self-training at each tau: scores, share of the pool accepted, share of
    that right."""
    scale = frozen.scale(labelled)
    known, others, valid = (scale(frozen.embeddings[rows]) for rows in (labelled, pool, validation))
    first = fit(known, frozen.labels[labelled], frozen.c)
    lines = [
        {"tau": None, "accepted": None, "right": None} | frozen.scores(first.predict_proba(valid), validation)
    ]
    for tau in TAUS:
        found = first
        for _ in range(ROUNDS):
            prob = found.predict_proba(others)
            taken, pseudo = prob.max(1) >= tau, found.classes_[prob.argmax(1)]
            found = fit(np.r_[known, others[taken]], np.r_[frozen.labels[labelled], pseudo[taken]], frozen.c)
        right = float((pseudo == frozen.labels[pool])[taken].mean()) if taken.any() else None
        scores = frozen.scores(found.predict_proba(valid), validation)
        lines.append({"tau": tau, "accepted": float(taken.mean()), "right": right} | scores)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="")
    parser.add_argument("--outputs", default="")
    options = parser.parse_args()
    with exit_with():
        frozen = Frozen(options.data, options.outputs)
        target = ROOT / "outputs" / "evidence" / "pairs"
        target.mkdir(parents=True, exist_ok=True)
        for study in (probe_c, masks, self_training):
            study(frozen).to_csv(target / f"{study.__name__}.csv", index=False, float_format="%.4g")
            print(f"{target.relative_to(ROOT)}/{study.__name__}.csv", flush=True)


if __name__ == "__main__":
    main()
