"""UrbanSound8K on disk: layouts, index, folds, splits; and the readers of other datasets."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .contents import remembered, sha256
from .dataset import Dataset, Split, synthesised
from .errors import UserError
from .index import CLASSES, FOLDS, read_index
from .knobs import RunConfig, digest
from .paths import cache_folder, data_folder, place

if TYPE_CHECKING:
    import pandas

# Of any other dataset: value of the knob `dataset` -> what opens it (esc_suite/inputs adds "table").
READERS: dict[str, Callable[[RunConfig], Dataset]] = {}
# The official folds share these five recordings, always with different classes (read off the official CSV).
KNOWN_SHARED = {106905: {1, 8}, 132016: {1, 4}, 176638: {1, 4}, 180937: {1, 9}, 77751: {2, 7}}
# Clips of each fold of the official CSV.
FOLD_SIZES = dict(enumerate((873, 888, 925, 990, 936, 823, 838, 806, 816, 837), start=1))
CLIPS = sum(FOLD_SIZES.values())
KAGGLE = ("/kaggle/input/urbansound8k", "/kaggle/input/datasets/chrisfilo/urbansound8k")


def open_dataset(config: RunConfig) -> Dataset:
    """The dataset of a run: UrbanSound8K at `data_dir`, the synthesised default, written on first use, or
    that of one of READERS."""
    if config.dataset in READERS:
        return READERS[config.dataset](config)
    if config.dataset == "synthetic":
        from .standins.synthetic import dataset_folder

        folder = dataset_folder(config)
    elif config.dataset == "urbansound8k":
        folder = find_dataset(config.data_dir)
    else:
        raise UserError(f"dataset: {config.dataset} has no reader: import esc_suite.inputs first")
    memory = cache_folder(config) / f"contents-{digest(str(folder))}.json"
    dataset = load(folder, config.allow_partial and config.dataset != "synthetic", memory)
    dataset = by_index(dataset) if config.fold_assignment == "by_index" else dataset
    order = class_order(config)
    clips = dataset.clips.assign(class_id=np.argsort(order)[dataset.clips["class_id"]])
    known = tuple(CLASSES[number] for number in order[: len(CLASSES) - config.unknown_classes])
    return replace(dataset, clips=clips, classes=known)


def class_order(config: RunConfig) -> list[int]:
    """UrbanSound8K's class ids, known ones first; which are unknown is drawn by `unknown_seed` alone, so
    that the seeds of a row have the same."""
    drawn = np.random.default_rng(config.unknown_seed).permutation(len(CLASSES)).tolist()
    return sorted(drawn[config.unknown_classes :]) + sorted(drawn[: config.unknown_classes])


def find_dataset(data_dir: str = "") -> Path:
    """Folder of UrbanSound8K: `data_dir`, else data/UrbanSound8K of the project, else Kaggle's two mounts."""
    if data_dir:
        return place(data_dir)
    own = data_folder() / "UrbanSound8K"
    for candidate in (own, *map(Path, os.environ.get("ESC_KAGGLE_INPUT", ":".join(KAGGLE)).split(":"))):
        if candidate.is_dir():
            return candidate
    raise UserError(
        f"no UrbanSound8K in {own} nor on Kaggle's mounts: `make data` downloads it, or set data_dir (DATA= "
        "for make)"
    )


def load(root: Path | str, allow_partial: bool = False, memory: Path | None = None) -> Dataset:
    """Index the dataset at `root`, in the official layout (audio/foldN, metadata/UrbanSound8K.csv) or
    Kaggle's (foldN and UrbanSound8K.csv at the root). UserError where the folder, the CSV, a fold or a clip
    is missing or inconsistent; `allow_partial` accepts missing clips and reports them in `missing`. The
    fingerprint is made of the CSV and of what is in every clip; `memory`: a file that keeps the clips'
    digests, so that only what has changed is read again."""
    root = Path(root)
    if not root.is_dir():
        raise UserError(
            f"no dataset folder {root}: unpack UrbanSound8K there, or give its folder as data_dir"
        )
    layouts = ((root, "metadata", "audio"), (root, "", ""))
    layouts += ((root / "UrbanSound8K", "metadata", "audio"), (root / "UrbanSound8K", "", ""))
    for base, table, folders in layouts:
        if (csv := base / table / "UrbanSound8K.csv").is_file():
            root, audio = base, base / folders
            break
    else:
        raise UserError(
            f"no metadata/UrbanSound8K.csv or UrbanSound8K.csv in {root}: is it the folder of UrbanSound8K?"
        )
    clips = read_index(csv)
    files = _files(audio)
    keys = ["fold" + str(fold) + "/" + file for fold, file in zip(clips["fold"], clips["file"], strict=True)]
    clips["path"] = [str(audio / key) for key in keys]
    there = np.array([key in files for key in keys], dtype=bool)
    lacking = clips[~there]
    missing = {int(fold): int(count) for fold, count in lacking.groupby("fold").size().items()}
    if missing and not allow_partial:
        total = ", ".join(f"fold {fold}: {count}" for fold, count in missing.items())
        links = sum(map(os.path.islink, lacking["path"]))
        fetch = f"fetch what {links} links point at (git annex get, dvc pull)"
        raise UserError(
            f"{len(lacking)} of {len(clips)} clips are missing in {audio} ({total}; first: "
            f"{lacking['path'].iloc[0]}): {fetch if links else 'unpack the archive again'}, or set "
            "allow_partial: true to go on with what is there"
        )
    if not there.any():
        raise UserError(
            f"none of the {len(clips)} clips that {csv} names is in {audio}: unpack the archive again"
        )
    clips = clips[there].reset_index(drop=True)
    made = synthesised(root)
    identity = hashlib.sha256(csv.read_bytes())
    identity.update((root / "DATASET.json").read_bytes() if made else b"")
    present = sorted(key for key in keys if key in files)
    digests = remembered([audio / key for key in present], sha256, memory)
    for key, content in zip(present, digests, strict=True):
        identity.update(f"{key} {content}\n".encode())
    return Dataset(root, clips, made, identity.hexdigest()[:16], missing)


def _files(audio: Path) -> set[str]:
    """fold/name of every WAV in the folds' folders. What is no file (a folder, a link to nowhere) is left
    out, so that it costs no clip but its own."""
    found = set()
    for folder in (audio / f"fold{fold}" for fold in FOLDS):
        try:
            files = [path for path in folder.iterdir() if path.suffix == ".wav" and path.is_file()]
            found.update(f"{folder.name}/{path.name}" for path in files)
        except FileNotFoundError:
            continue
        except OSError as error:
            remedies = {PermissionError: "give yourself read permission (chmod u+rx)",
                        NotADirectoryError: "remove it, unpack the archive again"}  # fmt: skip
            remedy = remedies.get(type(error), "mend its disk")
            raise UserError(f"folder {folder} cannot be read ({error.strerror}): {remedy}") from None
    return found


def by_index(dataset: Dataset) -> Dataset:
    """Folds assigned by index over sorted names, as the PANN transfer project does: slices of one recording
    land in different folds, so validation leaks [ledger 19]. A demonstration of what not to do."""
    clips = dataset.clips.assign(fold=np.arange(len(dataset.clips)) % len(FOLDS) + 1)
    return replace(dataset, clips=clips)


def split(config: RunConfig, dataset: Dataset) -> Split:
    """Labelled : validation : unlabelled = 1 : 1 : 8 folds, or 9 : 1 : 0 for the 100% row [ledger 16, 18,
    24].

    Fold k trains and (k mod 10) + 1 validates; a FixMatch row and its control validate on the same
    fold. UserError where a fold that the run needs has no clips. Clips of a table without a label are
    unlabelled in every run, but those that share a recording with a clip that validates."""
    valid = (config.validation_fold,)
    rest = tuple(fold for fold in FOLDS if fold not in (config.train_fold, *valid))
    if config.labelled == "all_but_one":
        labelled, unlabelled = tuple(sorted((config.train_fold, *rest))), ()
    else:
        labelled, unlabelled = (config.train_fold,), rest
    there = {int(fold) for fold in dataset.clips["fold"].unique() if fold}
    for name, folds in (("train_fold", (config.train_fold,)), ("validation fold", valid)):
        if not there.issuperset(folds):
            raise UserError(
                f"{name} {folds[0]} has no clips in {dataset.root} (folds there: {sorted(there)}): choose "
                "another fold, or complete the dataset"
            )
    labelled, unlabelled = (tuple(f for f in folds if f in there) for folds in (labelled, unlabelled))
    others, clips = dataset.rows(unlabelled), dataset.clips
    nameless = dataset.rows([0])
    if len(nameless):
        heard = clips["fsid"].iloc[nameless].isin(clips["fsid"].iloc[dataset.rows(valid)])
        others, unlabelled = np.sort(np.concatenate([others, nameless[~heard.to_numpy()]])), (0, *unlabelled)
    needs = ("fixmatch",) if config.dataset == "table" else ("fixmatch", "control")
    if config.method in needs and not len(others):
        lacks = "clips without a label" if config.dataset == "table" else "at least three folds"
        raise UserError(f"nothing unlabelled left in {dataset.root} for {config.method}: it needs {lacks}")
    rows, validation = dataset.rows(labelled), dataset.rows(valid)
    known = clips["class_id"].to_numpy() < len(dataset.classes)
    rows, unknown = rows[known[rows]], validation[~known[validation]]
    if config.labels_per_class and config.labelled == "one_fold":
        rows = few_labels(dataset, rows, config.labels_per_class, config.seed, config.train_fold)
    return Split(
        labelled=rows,
        validation=validation[known[validation]],
        unlabelled=others,
        labelled_folds=labelled,
        validation_folds=valid,
        unlabelled_folds=unlabelled,
        unknown=unknown,
    )


def few_labels(dataset: Dataset, rows: np.ndarray, count: int, seed: int, fold: int) -> np.ndarray:
    """Of these rows at most `count` of every class, drawn at random; runs of one seed and fold draw the same.

    The others are left out, so that no recording is both labelled and unlabelled. Few labels are where
    unlabelled clips help most (Sohn et al. 2020: 4 to 400 a class); the paper labels whole folds."""
    classes = dataset.clips["class_id"].to_numpy()[rows]
    order = np.random.default_rng([seed, fold]).permutation(len(rows))
    kept = [order[classes[order] == number][:count] for number in np.unique(classes)]
    return np.sort(rows[np.concatenate(kept)])


def leak_check(dataset: Dataset) -> "pandas.DataFrame":
    """Recordings that lie in more than one fold: columns fsid, folds, classes, clips. The official folds
    share five, with different classes; any other is a leak and raises UserError, as does one of the five in
    other folds."""
    groups = dataset.clips.groupby("fsid")
    shared = groups.filter(lambda rows: rows["fold"].nunique() > 1).groupby("fsid")
    table = shared.agg(
        folds=("fold", lambda f: tuple(sorted(set(f)))),
        classes=("class_name", lambda c: tuple(sorted(set(c)))),
        clips=("file", "size"),
    ).reset_index()
    for row in table.itertuples():
        if dataset.synthesised or set(row.folds) != KNOWN_SHARED.get(row.fsid):
            raise UserError(
                f"recording {row.fsid} lies in folds {row.folds}: folds leak, use the official folds of "
                "UrbanSound8K.csv"
            )
    return table
