"""What a reader of clips returns, UrbanSound8K's (urbansound.py) or another, and its split."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import UserError
from .index import CLASSES

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Dataset:
    """The clips that are on disk. `clips` is sorted by file name, one row a clip: file, path, fsid
    (recording), class_id, class_name, fold, salience (1 foreground, 2 background), start, end, duration (s).
    `missing`: fold -> clips that the CSV names but the disk lacks. `classes`: their names by class id. Of a
    table, clips without a label have class_id -1 and fold 0, `offset` is where a window starts in its file
    (s), `missing` counts unusable files under 0, and `audio` is a digest of the audio alone, which keys the
    feature store. Unknown classes have the ids after those of `classes`."""

    root: Path
    clips: "pandas.DataFrame"
    synthesised: bool
    fingerprint: str
    missing: dict[int, int]
    classes: tuple[str, ...] = CLASSES
    audio: str = ""

    def rows(self, folds) -> np.ndarray:
        """Row numbers of all clips of the given folds, in order."""
        return np.flatnonzero(self.clips["fold"].isin(list(folds)).to_numpy())


@dataclass(frozen=True)
class Split:
    """Row numbers into Dataset.clips: labelled (trained on), validation, unlabelled (without labels)."""

    labelled: np.ndarray
    validation: np.ndarray
    unlabelled: np.ndarray
    labelled_folds: tuple[int, ...]
    validation_folds: tuple[int, ...]
    unlabelled_folds: tuple[int, ...]
    # Clips of unknown classes in the validation folds (knob unknown_classes)
    unknown: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))

    @property
    def to_score(self) -> dict[str, np.ndarray]:
        """Rows that are scored at the end, by the name that they have in the record."""
        pools = {"valid": self.validation, "unlabelled": self.unlabelled, "unknown": self.unknown}
        return {name: rows for name, rows in pools.items() if len(rows)}


def synthesised(root: Path) -> bool:
    """What a DATASET.json in the folder of a dataset, if there is one, says of it."""
    marker = root / "DATASET.json"
    try:
        return marker.is_file() and bool(json.loads(marker.read_text(encoding="utf-8"))["synthesised"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{marker} is damaged ({error}): delete the folder, a synthesised dataset is made again"
        ) from None
