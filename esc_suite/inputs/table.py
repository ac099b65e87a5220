"""Any recordings as a dataset: what a CSV of clips, or a folder of class folders, lists (listing.py), with
classes, folds, recordings and windows."""

import sys
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from esc_suite.inputs.listing import COLUMNS, read_table
from esc_utils.audio import SAMPLE_RATE, decode
from esc_utils.config import RunConfig, digest
from esc_utils.contents import remembered, sha256
from esc_utils.dataset import Dataset, synthesised
from esc_utils.errors import UserError
from esc_utils.files import write_atomic
from esc_utils.paths import cache_folder, outputs_folder

if TYPE_CHECKING:
    import pandas

MOST_FOLDS, FOLD_SEED = 5, 0
MOST_CLASSES = 127  # pseudo-labels are kept as int8
LONG = 60.0  # s; a longer file is read piece by piece


def open_table(config: RunConfig) -> Dataset:
    """The clips that `data_dir` names, sorted by path. A file without a label that is longer than
    `clip_seconds` is several rows, one a window; clips without a label have class_id -1 and fold 0. UserError
    where the table is wrong or, unless `allow_partial`, a file cannot be used; each such file is a line on
    stderr."""
    import pandas

    table, root = read_table(config.data_dir)
    table = table.sort_values("path", kind="stable", ignore_index=True)
    table["fold"] = table["fold"].where(table["label"] != "", "")  # of a clip without a label it says nothing
    names = _class_names(table)
    memory = cache_folder(config) / "tables" / f"{digest(str(root))}.json"
    about = table.join(pandas.DataFrame(examine([root / path for path in table["path"]], memory)))
    bad = about["problem"] != ""
    for problem in about["problem"][bad]:
        _say(f"unusable: {problem}")
    if bad.any() and not config.allow_partial:
        first = about["problem"][bad].iloc[0]
        raise UserError(
            f"{bad.sum()} of {len(table)} clips in {root} cannot be used (first: {first})"
            ": mend or remove them, or go on without (label: --skip-bad; in parameters allow_partial: true)"
        )
    about = about[~bad].reset_index(drop=True)
    if gone := sorted(set(names) - set(about["label"])):
        raise UserError(
            f"no clip of the class '{gone[0]}' in {root} can be used: mend its files, or remove their lines"
        )
    identity = digest(about[["path", "digest", *COLUMNS[1:]]].values.tolist())
    about["fold"] = about["fold"].replace("", 0).astype("int64")
    if not about["fold"].any():
        about["fold"] = assign_folds(about)
        content = about.loc[about["label"] != "", list(COLUMNS)].to_csv(index=False).encode()
        written = outputs_folder(config) / f"folds-{identity}.csv"
        if not (written.is_file() and written.read_bytes() == content):
            write_atomic(written, content)
    own = about[about["label"] != ""]
    shared = own.groupby(recordings(about))["fold"].transform("nunique") > 1
    if shared.any():
        raise UserError(
            f"copies of {own['path'][shared.idxmax()]} in {root} lie in two folds (same content, other name)"
            ": put them and their recordings into one fold"
        )
    spread = own.groupby("label")["fold"].nunique()
    if spread.min() < 2:
        raise UserError(
            f"all clips of class '{spread.idxmin()}' in {root} lie in one fold, where no network could both "
            "learn it and be scored on it: give them at least two folds, or give no folds at all"
        )
    clips = _rows(about, root, names, config.clip_seconds)
    audio = digest([about[["path", "digest"]].values.tolist(), clips[["file", "start"]].values.tolist()])
    missing = {0: int(bad.sum())} if bad.any() else {}
    # Also of the folds and windows that were made here: this code is no part of the method's code hash.
    fingerprint = digest([identity, clips.drop(columns="path").values.tolist()])
    return Dataset(root, clips, synthesised(root), fingerprint, missing, names, audio)


def _rows(about: "pandas.DataFrame", root: Path, names: tuple[str, ...], window: float) -> "pandas.DataFrame":
    """One row a clip or window, as in `Dataset.clips`; `offset`: where a window starts (NaN: whole file)."""
    import pandas

    about, labelled = about.copy(), about["label"] != ""
    spans = [windows(seconds, window, window) for seconds in about["seconds"]]
    about["span"] = [
        found if not known else found[:1] if seconds > LONG else [(0.0, seconds)]
        for found, known, seconds in zip(spans, labelled, about["seconds"], strict=True)
    ]
    rows = about.assign(fsid=recordings(about)).explode("span", ignore_index=True)
    start, end = np.array(rows["span"].tolist()).T
    return pandas.DataFrame(
        {
            "file": rows["path"], "path": [str(root / path) for path in rows["path"]],
            "fsid": rows["fsid"].astype("int64"),
            "class_id": pandas.Categorical(rows["label"], names).codes.astype("int64"),
            "class_name": rows["label"],
            "fold": rows["fold"].where(rows["label"] != "", 0), "salience": 1,
            "start": start, "end": end, "duration": end - start,
            "offset": np.where((start > 0) | (rows["seconds"] > LONG), start, np.nan),
        }
    )  # fmt: skip


def windows(seconds: float, window: float, hop: float) -> list[tuple[float, float]]:
    """Start and end (s) of the windows of a file: one every `hop`; a rest of less than half a window is left
    out, a file that is shorter is one."""
    count = 1 + max(0, int(np.floor((seconds - window / 2) / hop + 1e-9)))
    return [(n * hop, min(n * hop + window, seconds)) for n in range(count)]


def _class_names(table: "pandas.DataFrame") -> tuple[str, ...]:
    """The labels of a table in order of their names; UserError for fewer than two, or too many."""
    names = tuple(sorted(set(table["label"]) - {""}))
    if not names:
        raise UserError("no clip of the table has a label: label a few clips of every class")
    if not 2 <= len(names) <= MOST_CLASSES:
        raise UserError(f"{len(names)} classes in the table: it needs 2 at least, {MOST_CLASSES} at most")
    return names


def recordings(about: "pandas.DataFrame") -> "pandas.Series":
    """Number of each file's recording: one for equal names of a recording, and for equal content."""
    import pandas
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    own = about["recording"].where(about["recording"] != "", about["path"])
    names, found = pandas.factorize(own, sort=True)
    contents = len(found) + pandas.factorize(about["digest"])[0]
    size = len(found) + len(about)
    links = coo_array((np.ones(len(about)), (names, contents)), (size, size))
    return pandas.Series(connected_components(links, directed=False)[1][names], about.index)


def assign_folds(about: "pandas.DataFrame") -> np.ndarray:
    """Fold (1 to K) of each labelled clip, 0 of the others: recordings whole, classes spread evenly, at most
    MOST_FOLDS. UserError for a class of one recording, which no network could both learn and be scored on."""
    from sklearn.model_selection import StratifiedGroupKFold

    known = (about["label"] != "").to_numpy()
    own, groups = about[known], recordings(about)[known]
    counts = groups.groupby(own["label"]).nunique()
    if counts.min() < 2:
        raise UserError(
            f"class '{counts.idxmin()}' has clips of one recording only: label one of another recording, too"
        )
    for count in range(int(min(MOST_FOLDS, counts.min())), 1, -1):
        parts = StratifiedGroupKFold(count, shuffle=True, random_state=FOLD_SEED)
        folds = np.zeros(len(about), dtype=np.int64)
        for number, (_, rows) in enumerate(parts.split(own, own["label"], groups), start=1):
            folds[np.flatnonzero(known)[rows]] = number
        spread = own.assign(fold=folds[known]).groupby("label")["fold"].nunique()
        if spread.min() > 1:  # recordings with several classes may lie badly: fewer folds may do
            return folds
    raise UserError(
        f"class '{spread.idxmin()}' comes into one fold only, however its recordings are spread: "
        "label one of another recording, too"
    )


def examine(paths: list[Path], memory: Path) -> list[dict]:
    """Each file decoded once from end to end: seconds, digest of its content, and problem ("": none), one
    line with its name. `memory` keeps the answers for files that can be used (contents.remembered)."""
    from tqdm import tqdm

    shown = partial(
        tqdm, total=len(paths), desc="reading the audio files", unit="file", delay=2, disable=None
    )
    return remembered(paths, _examined, memory, keep=lambda found: not found["problem"], progress=shown)


def _examined(path: Path) -> dict:
    import soundfile

    found = {"seconds": 0.0, "digest": "", "problem": ""}
    try:
        if path.exists() and not path.is_file():
            return found | {"problem": f"{path} is no file"}
        found["digest"] = sha256(path)[:16]
        seconds = soundfile.info(str(path)).duration
        pieces = np.arange(0.0, seconds, LONG) if seconds > LONG else (np.nan,)
        heard = sum(len(decode(path, start=start, seconds=LONG)) for start in pieces) / SAMPLE_RATE
        # where a file only estimates its own length
        return found | {"seconds": heard if heard < seconds - 0.1 else seconds}
    except soundfile.SoundFileError:
        return found | {"problem": f"{path} is no audio file that libsndfile can read"}
    except OSError as error:
        return found | {"problem": f"{path} cannot be read ({error.strerror})"}
    except UserError as error:
        return found | {"problem": str(error).removeprefix("audio file ").rpartition(": ")[0]}


@cache
def _say(line: str) -> None:
    """A line on stderr, once in a process, however often the table is opened."""
    print(line, file=sys.stderr, flush=True)
