"""The table of a person's clips: a small example of one, labels written back into it, and how many labels are
enough."""

import codecs
import csv
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import torch

from esc_suite.figures import style
from esc_suite.inputs import open_dataset
from esc_suite.inputs.listing import separator_of
from esc_utils import config as configuration
from esc_utils.config import RunConfig
from esc_utils.errors import UserError
from esc_utils.evaluation import scored
from esc_utils.features import Clips, open_store
from esc_utils.files import write_atomic
from esc_utils.start import build_model, standardisation

EXAMPLE = ("car_horn", "siren", "street_music")  # those that the shipped backbone tells apart least well
LABELLED, UNLABELLED = 4, 16  # clips a class of the example


def example(folder: Path) -> Path:
    """Write an example table into `folder`, once: clips of the embedded default, most of them without their
    label, which stands in a column `truth` that nothing reads. Returns the CSV."""
    target = folder / "clips.csv"
    if target.is_file():
        return target
    known = open_dataset(configuration.for_run("quick", "", outputs=str(folder.parent.parent)))
    rows = [["path", "label", "recording", "truth"]]
    for name in EXAMPLE:
        own = known.clips[known.clips["class_name"] == name].drop_duplicates("fsid")[: LABELLED + UNLABELLED]
        for at, clip in enumerate(own.itertuples()):
            rows.append(
                [os.path.relpath(clip.path, folder), name if at < LABELLED else "", str(clip.fsid), name]
            )
    write_atomic(folder / "DATASET.json", json.dumps({"synthesised": True}).encode())
    write_atomic(target, _as_csv(rows))
    return target


def relabel(table: Path, labels: dict[str, str]) -> None:
    """Write labels (path -> class; "": none) into a table, whole or not at all; all else in it stays as it
    is."""
    try:
        content = table.read_bytes()
        text = content.decode("utf-8-sig")
        first = (text.splitlines() or [""])[0]
        separator = separator_of(first)
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
        names = [name.strip().lower() for name in rows[0]]
        path, label = names.index("path"), names.index("label")
    except OSError as error:
        raise UserError(
            f"{table} cannot be read ({error.strerror}): labels go into the CSV of your clips"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} is no CSV table in UTF-8 ({error}): save it as one") from None
    except (ValueError, IndexError):
        raise UserError(
            f"{table} lacks a column path or label in its first line ({first[:80]}): add it"
        ) from None
    places = {row[path].strip(): row for row in rows[1:] if len(row) > max(path, label)}
    if unknown := [name for name in labels if name not in places]:
        raise UserError(f"{table} has no clip {unknown[0]}: label clips that stand in it")
    for name, value in labels.items():
        places[name][label] = value
    mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    write_atomic(table, mark + _as_csv(rows, separator, re.search(r"\r\n|\n|\r|$", text)[0] or "\n"))


def _as_csv(rows: list[list[str]], separator: str = ",", end: str = "\n") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=end).writerows(rows)
    return text.getvalue().encode()


@torch.inference_mode()
def embeddings(config: RunConfig, dataset) -> np.ndarray:
    """Embeddings (clips, E) of all clips by the pretrained network, unaugmented."""
    model = build_model(config, len(dataset.classes)).eval()
    clips = Clips(open_store(config, dataset), torch.device("cpu"))
    parts = scored(clips, np.arange(len(dataset.clips)))
    return torch.cat([model.embed(model.normalise(clips[rows])) for rows in parts]).numpy()


def probe(x: np.ndarray, labels: np.ndarray, c: float):
    """The frozen probe: a logistic regression on standardised embeddings x (n, E); a function of embeddings
    that gives scores (n, classes), a column for each class of `labels` in order."""
    from sklearn.linear_model import LogisticRegression

    if len(set(labels)) < 2:
        raise UserError(
            "a probe needs clips of two classes to learn from: label clips of every class in two folds or "
            "more"
        )
    mean, spread = standardisation(x.astype(np.float64))
    fitted = LogisticRegression(C=c, max_iter=2000).fit((x - mean) / spread, labels)
    return lambda other: fitted.predict_proba((other - mean) / spread)


def learning_curve(x, labels, recordings, c: float, draws: int = 20, seed: int = 0):
    """Accuracy of the probe by the number of labelled clips a class: columns labelled, draw, accuracy (%).

    x (n, E), labels and recordings (n,) of the labelled clips. Each draw takes one clip of each of so many
    recordings a class, and is scored on all recordings that it did not take; the most is one recording a
    class less than there are. Where recordings hold several classes, a draw may take them all; it is left
    out."""
    import pandas

    rng, labels, recordings = np.random.default_rng(seed), np.asarray(labels), np.asarray(recordings)
    own = {c: np.unique(recordings[labels == c]) for c in np.unique(labels)}
    most = min(map(len, own.values())) - 1
    if most < 1:
        raise UserError(
            "a learning curve needs clips of at least two recordings of every class: label some more"
        )
    counts = sorted({*(2**i for i in range(20) if 2**i < most), most})
    rows = []
    for count in counts:
        for draw in range(draws):
            pairs = [
                (r, k) for k, names in own.items() for r in sorted(rng.choice(names, count, replace=False))
            ]
            held = ~np.isin(recordings, [r for r, _ in pairs])
            if not held.any():
                continue
            firsts = [rng.choice(np.flatnonzero((recordings == r) & (labels == k))) for r, k in pairs]
            right = probe(x[firsts], labels[firsts], c)(x[held]).argmax(1) == np.searchsorted(
                list(own), labels[held]
            )
            rows.append({"labelled": count, "draw": draw, "accuracy": 100 * right.mean()})
    if not rows:
        raise UserError("a learning curve needs recordings to score on: label clips of some more recordings")
    return pandas.DataFrame(rows)


@style.figure
def curve_figure(curve, title="Accuracy by the number of labelled clips"):
    """`learning_curve` as a line with the range that holds 80% of the draws."""
    import seaborn

    made = style.new(6.0, 3.4, title)
    axes = made.subplots()
    seaborn.lineplot(
        curve, x="labelled", y="accuracy", errorbar=("pi", 80), marker="o", color=style.VALID, ax=axes
    )
    axes.set(xlabel="labelled clips a class", ylabel="accuracy [%]", ylim=(0, 101))
    axes.set_xticks(sorted(set(curve["labelled"])))
    alt = "Accuracy against the number of labelled clips a class, with the range of 80 per cent of the draws"
    return style.described(
        made, alt, "On recordings that the probe has not heard; the band holds 80 per cent of the draws."
    )
