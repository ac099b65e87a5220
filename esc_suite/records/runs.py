"""The run record: outputs/<profile>/runs/<experiment>/fold<k>_seed<s>/, written whole or not at all."""

import io
import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from esc_utils.errors import UserError
from esc_utils.files import replace_all
from esc_utils.knobs import RunConfig
from esc_utils.locks import hold
from esc_utils.paths import outputs_folder

if TYPE_CHECKING:
    import pandas

SCHEMA = 2


class Record(BaseModel):
    """metrics.json. Percentages are 0 to 100; `validation`, `transductive`: see evaluation.score;
    `best` is the best validation of the history, `epochs` the number of its lines after the start."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int
    experiment: str
    profile: str
    fold: int
    seed: int
    synthesised: bool
    backbone: str
    stands_in_for_pann: bool
    config: dict[str, Any]
    validation: dict[str, Any]
    transductive: dict[str, Any] | None
    epochs: int
    steps: int
    labelled_passes: float
    unlabelled_share: float | None
    seconds: float
    clips_per_second: float
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, metrics (dict), history (one row an evaluated epoch), predictions
    (arrays)."""

    folder: Path
    metrics: dict
    history: "pandas.DataFrame"
    predictions: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        """Experiment, fold and seed, for titles."""
        return f"{self.metrics['experiment']}, fold {self.metrics['fold']}, seed {self.metrics['seed']}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes, by class id."""
        return tuple(self.metrics["validation"]["last"]["per_class"])


def folder(config: RunConfig) -> Path:
    """Folder of the record of one run; UserError for a run without a name."""
    if not config.experiment:
        raise UserError("experiment is empty: name a file of params/experiments or params/sensitivity")
    return outputs_folder(config) / "runs" / config.experiment / f"fold{config.train_fold}_seed{config.seed}"


@contextmanager
def claim(path: Path):
    """Hold a run's folder; UserError where it cannot be written or another process trains there."""
    taken = f"another process is training in {path}: wait for it, or give another outputs folder"
    try:
        path.mkdir(parents=True, exist_ok=True)
        with hold(path / ".lock", taken):
            yield
    except OSError as error:
        if error.errno is None:
            raise
        own = isinstance(error, PermissionError)
        remedy = "set outputs to a folder of yours" if own else "set outputs elsewhere or free some space"
        raise UserError(f"cannot write to {path} ({error.strerror}): {remedy}") from None


def write(path: Path, record: dict, history: "pandas.DataFrame", predictions: dict[str, np.ndarray]) -> Run:
    """Validate and write a record, whole or not at all: metrics.json comes last."""
    record = Record(**record).model_dump()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **predictions)
    replace_all(
        {
            path / "predictions.npz": buffer.getvalue(),
            path / "history.csv": history.to_csv(index=False, float_format="%.8g").encode(),
            path / "metrics.json": (json.dumps(record, indent=1) + "\n").encode(),
        }
    )
    return read(path)


def complete(path: Path) -> bool:
    """Whether a finished record lies in this folder."""
    return (path / "metrics.json").is_file()


def read_metrics(path: Path) -> dict:
    """metrics.json of a run folder, validated."""
    file = path / "metrics.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        record = Record(**values)
    except OSError as error:
        raise UserError(f"no run record {file} ({error.strerror}): train the run first") from None
    except (ValueError, TypeError, ValidationError) as error:
        raise _damaged(file, error) from None
    if record.schema_version != SCHEMA:
        raise UserError(f"run record {file} has schema {record.schema_version}, not {SCHEMA}: train again")
    return record.model_dump()


def read(path: Path | str) -> Run:
    """A finished run from its folder; UserError where a file is missing or damaged."""
    import pandas

    path = Path(path)
    metrics = read_metrics(path)
    try:
        history = pandas.read_csv(path / "history.csv")
        with np.load(path / "predictions.npz", allow_pickle=False) as arrays:
            predictions = {name: arrays[name] for name in arrays.files}
    except Exception as error:
        raise _damaged(path, error) from None
    return Run(path, metrics, history, predictions)


def _damaged(record: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200]
    return UserError(f"run record {record} is damaged ({reason}): delete its folder and train again")
